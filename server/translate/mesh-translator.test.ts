import assert from "node:assert/strict";
import { test } from "node:test";
import type { Mesh, MeshStatus } from "../../common/api/discovery.ts";
import { nameOf, refKey } from "../../common/api/meta.ts";
import { keyOf } from "../../common/session/resource-set.ts";
import { meshOf, virtualMeshOf } from "../intent/fixtures.ts";
import { IntentBook } from "../relay/intent-book.ts";
import { MeshTranslator } from "./mesh-translator.ts";

const SPEC = virtualMeshOf("vm", [1, 2]).spec;
const applied = (generation = 1, spec = SPEC): MeshStatus => ({
  observedGeneration: 1,
  appliedVirtualMesh: { ref: { namespace: "gloo-mesh", name: "vm" }, observedGeneration: generation, spec },
});
const meshWith = (number: number, status?: MeshStatus): Mesh => ({ ...meshOf(number), ...(status && { status }) });
const meshesOf = (...meshes: Mesh[]) => new Map(meshes.map((mesh) => [refKey(nameOf(mesh)), mesh]));
const KEY = keyOf(nameOf(meshOf(1)));
const MESH_KEY = refKey(nameOf(meshOf(1)));

function setUp() {
  const intents = new IntentBook();
  const changed: string[] = [];
  intents.onChange((cluster) => changed.push(cluster));
  const translator = new MeshTranslator({ intents, namespace: "gloo-mesh" });
  return { intents, translator, changed, one: () => intents.get("cluster-1") };
}

test("mesh translator - each cluster holds what its Meshes say, and a changed Mesh touches its own cluster", async () => {
  const { intents, translator, changed, one } = setUp();
  const [first, second] = [meshWith(1, applied()), meshWith(2, applied())];
  await translator.take(meshesOf(first, second));
  assert.deepEqual(changed, ["cluster-1", "cluster-2"]);
  assert.deepEqual([...one().resources.keys()], [KEY]);
  assert.equal(translator.version(MESH_KEY), one().resources.get(KEY)?.version);
  const before = intents.get("cluster-2");
  await translator.take(
    meshesOf(meshWith(1, applied(2, { ...SPEC, mtlsConfig: { ...SPEC.mtlsConfig, autoRestartPods: true } })), second),
  );
  assert.deepEqual(changed.slice(2), ["cluster-1"]);
  assert.equal(intents.get("cluster-2"), before);
  // A report of the agent changes the Mesh and nothing that is pushed.
  await translator.take(meshesOf(first, meshWith(2, { ...applied(), issuedCertificate: { state: "FINISHED" } })));
  assert.deepEqual(changed.slice(3), ["cluster-1"]);
});

test("mesh translator - a Mesh that is gone, made again or broken by hand removes nothing", async () => {
  const { translator, one } = setUp();
  await translator.take(meshesOf(meshWith(1, applied())));
  const held = one();
  await translator.take(meshesOf());
  assert.equal(one(), held);
  await translator.take(meshesOf(meshWith(1)));
  assert.equal(one(), held, "not judged yet");
  await translator.take(meshesOf({ ...meshWith(1, applied()), spec: {} }));
  assert.equal(one(), held);
  // Judged, and nothing applies: the agent keeps what it has, since nobody took it out.
  await translator.take(meshesOf(meshWith(1, { observedGeneration: 1 })));
  assert.deepEqual([one().resources.size, one().removals.size], [0, 0]);
});

test("mesh translator - a removal is passed on once, until the agent has acknowledged it here", async () => {
  const { intents, translator, one } = setUp();
  const removal = { virtualMesh: { namespace: "gloo-mesh", name: "vm" }, since: "2026-01-01T00:00:00.000Z" };
  const removed = (rest: MeshStatus = {}) => meshesOf(meshWith(1, { observedGeneration: 1, removal, ...rest }));
  await translator.take(meshesOf(meshWith(1, applied())));
  await translator.take(removed());
  assert.deepEqual([[...one().resources], [...one().removals]], [[], [KEY]]);
  assert.equal(translator.acknowledgedRemoval(MESH_KEY), undefined);
  intents.forgetRemovals("cluster-1", new Set([KEY]));
  assert.equal(translator.acknowledgedRemoval(MESH_KEY), removal.since);
  await translator.take(removed({ issuedCertificate: { state: "FINISHED" } }));
  assert.equal(one().removals.size, 0, "it does not come again with another change of the Mesh");
  assert.equal(translator.acknowledgedRemoval(MESH_KEY), removal.since);
  await translator.take(removed({ removal: { ...removal, since: "2026-01-02T00:00:00.000Z" } }));
  assert.deepEqual([...one().removals], [KEY], "taken out another time");
});

test("mesh translator - a removal that another replica's agent acknowledged ends here as well, and so does one taken back", async () => {
  const { translator, one } = setUp();
  const removal = { since: "2026-01-01T00:00:00.000Z" };
  await translator.take(meshesOf(meshWith(1, { observedGeneration: 1, removal })));
  assert.equal(one().removals.size, 1);
  await translator.take(meshesOf(meshWith(1, { observedGeneration: 1 })));
  assert.equal(one().removals.size, 0);
  await translator.take(meshesOf(meshWith(1, { observedGeneration: 1, removal })));
  await translator.take(meshesOf(meshWith(1, applied())));
  assert.deepEqual([one().removals.size, one().resources.size], [0, 1]);
});

test("mesh translator - a change of thousands leaves the loop to others after every fifty", async () => {
  const intents = new IntentBook();
  const turns: (() => void)[] = [];
  const translator = new MeshTranslator({ intents, namespace: "gloo-mesh", defer: (work) => turns.push(work) });
  const meshes = meshesOf(...Array.from({ length: 120 }, (_, index) => meshWith(index + 1, applied())));
  const taken = translator.take(meshes);
  const sizes = [intents.clusters.length];
  while (intents.clusters.length < meshes.size) {
    turns.shift()?.();
    await Promise.resolve();
    sizes.push(intents.clusters.length);
  }
  await taken;
  assert.deepEqual([sizes, turns.length], [[50, 100, 120], 0]);
});
