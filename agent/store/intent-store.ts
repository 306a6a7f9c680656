import * as z from "zod";
import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import { keyOf, wireResource, type WireResource } from "../../common/session/resource-set.ts";
import { NOTHING_HELD, type Held } from "../apply/apply-machine.ts";
import type { IntentStore } from "../apply/intent-holder.ts";

const resourceSchema = z.object({ namespace: z.string(), name: z.string(), content: z.base64() });
const schema = z.object({
  managed: z.array(resourceSchema),
  detached: z.array(resourceSchema.extend({ removed: z.boolean() })),
});

type StoredResource = z.output<typeof resourceSchema>;

/** Standalone home of the intent: one document of the state directory, replaced whole. */
export function fileIntentStore(directory: StateDirectory): IntentStore {
  const document = directory.document("intent", schema);
  return {
    load: async () => {
      const stored = await document.read();
      return stored ? toHeld(stored) : NOTHING_HELD;
    },
    save: ({ managed, detached }) =>
      document.write({
        managed: [...managed.values()].map(toStored),
        detached: [...detached.values()].map(({ resource, removed }) => ({ ...toStored(resource), removed })),
      }),
  };
}

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
