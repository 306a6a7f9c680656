import assert from "node:assert/strict";
import { test } from "node:test";
import { IssuedCertificate } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Push } from "../../proto/gen/relay/v1/relay.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { digestOf, ISSUED_CERTIFICATE, keyOf, wireResource } from "../../common/session/resource-set.ts";
import { heldDigest, NOTHING_HELD, type Held } from "./apply-machine.ts";
import { IntentHolder, type IntentStore } from "./intent-holder.ts";

const resource = (name: string) => {
  const certificate = IssuedCertificate.fromPartial({
    ...{ name: { namespace: "gloo-mesh", name }, hosts: ["istiod"], installation: { namespace: "istio-system" } },
    certificateAuthority: { $case: "vault", value: { server: "https://vault" } },
  });
  return wireResource({ namespace: "gloo-mesh", name }, Buffer.from(IssuedCertificate.encode(certificate).finish()));
};

/** A whole set. */
const pushOf = (...names: string[]): Push => {
  const resources = names.map(resource);
  return {
    ...{ type: ISSUED_CERTIFICATE, id: 1n, base: Buffer.alloc(0), removals: [] },
    upserts: resources.map(({ name, content }) => ({ name, content })),
    digest: digestOf(new Map(resources.map(({ name, version }) => [keyOf(name), version]))),
  };
};

/** A store of objects that stops in the middle of a save, and cannot be read for a while. */
class BrittleStore implements IntentStore {
  readonly certificates = new Latest<never[]>([]);
  stored: Held = NOTHING_HELD;
  isBroken = true;

  async load(): Promise<Held> {
    if (this.isBroken) throw new MeshError("unavailable", "cannot be read");
    return Promise.resolve(this.stored);
  }

  async save(held: Held): Promise<ReadonlyMap<string, MeshError>> {
    if (!this.isBroken) this.stored = held;
    else this.stored = { managed: new Map([...held.managed].slice(0, 1)), detached: new Map() };
    if (this.isBroken) throw new MeshError("unavailable", "went away in the middle");
    return Promise.resolve(new Map());
  }

  guard(): Promise<void> {
    return Promise.resolve();
  }
}

test("intent holder - after a save that failed it says nothing of what it holds before it has looked", async () => {
  const store = new BrittleStore();
  store.isBroken = false;
  const holder = await IntentHolder.open(store, new AbortController().signal);
  store.isBroken = true;
  await assert.rejects(holder.apply(pushOf("a", "b")), { code: "unavailable" });
  await assert.rejects(holder.digest(), { code: "unavailable" });
  store.isBroken = false;
  assert.deepEqual(await holder.digest(), heldDigest(store.stored));
  assert.equal(store.stored.managed.size, 1);
  const { held } = await holder.apply(pushOf("a", "b"));
  assert.deepEqual(held, pushOf("a", "b").digest);
  assert.equal(store.stored.managed.size, 2);
});
