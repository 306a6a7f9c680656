import { once } from "node:events";
import * as z from "zod";
import { Latest } from "../../common/runtime/latest.ts";
import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import { keyOf, wireResource, type WireResource } from "../../common/session/resource-set.ts";
import { NOTHING_HELD, type Held } from "../apply/apply-machine.ts";
import { certificatesOf, type IntentStore, type StoreRefusals } from "../apply/intent-holder.ts";
import type { HeldCertificate } from "../certs/orders.ts";

const resourceSchema = z.object({ namespace: z.string(), name: z.string(), content: z.base64() });
const schema = z.object({
  managed: z.array(resourceSchema),
  detached: z.array(resourceSchema.extend({ removed: z.boolean() })),
});

type StoredResource = z.output<typeof resourceSchema>;

/** Standalone home of the intent: one document of the state directory, replaced whole. Throws `state_corrupt`. */
export async function openFileIntentStore(directory: StateDirectory): Promise<IntentStore> {
  const document = directory.document("intent", schema);
  const load = async (): Promise<Held> => {
    const stored = await document.read();
    return stored ? toHeld(stored) : NOTHING_HELD;
  };
  const certificates = new Latest<readonly HeldCertificate[]>(certificatesOf(await load()));
  return {
    certificates,
    load,
    save: async (held) => {
      const { managed, detached } = held;
      await document.write({
        managed: [...managed.values()].map(toStored),
        detached: [...detached.values()].map(({ resource, removed }) => ({ ...toStored(resource), removed })),
      });
      certificates.set(certificatesOf(held));
      return NO_REFUSALS;
    },
    // The directory belongs to this process alone.
    guard: async (_, signal) => {
      if (!signal.aborted) await once(signal, "abort");
    },
  };
}

const NO_REFUSALS: StoreRefusals = new Map();

function toHeld({ managed, detached }: z.output<typeof schema>): Held {
  return {
    managed: new Map(managed.map((stored) => [keyOf(stored), toWire(stored)])),
    detached: new Map(detached.map((stored) => [keyOf(stored), { resource: toWire(stored), removed: stored.removed }])),
  };
}

const toWire = ({ namespace, name, content }: StoredResource): WireResource =>
  wireResource({ namespace, name }, Buffer.from(content, "base64"));

const toStored = ({ name: { namespace, name }, content }: WireResource): StoredResource => ({
  namespace,
  name,
  content: content.toString("base64"),
});
