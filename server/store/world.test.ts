import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { parse } from "yaml";
import type { MeshStatus } from "../../common/api/discovery.ts";
import { refKey } from "../../common/api/meta.ts";
import { parseResources } from "../../common/api/parse.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { snapshotOf as snapshotOfFiles } from "../intent/snapshot.ts";
import { validate } from "../intent/validate.ts";
import { intentVersion, snapshotOf, WorldReader, type World } from "./world.ts";

const EXAMPLES = new URL("../../examples/", import.meta.url);
const TEXTS = readdirSync(EXAMPLES).map((file) => readFileSync(new URL(file, EXAMPLES), "utf8"));

/** The examples as an API server gives them. */
const stored = (): KubeObject[] =>
  TEXTS.map((text, index) => {
    const { metadata, ...rest } = parse(text) as KubeObject;
    const given = { uid: `uid-${index}`, resourceVersion: String(index), generation: 1 };
    return { ...rest, metadata: { ...metadata, ...given } };
  });

const changed = (kind: string, change: (object: KubeObject) => object): KubeObject[] =>
  stored().map((object) => (object.kind === kind ? (change(object) as KubeObject) : object));

const READER = new WorldReader();

function worldOf(objects: readonly KubeObject[], reader = READER): World {
  const of = (kind: string) =>
    new Map(objects.filter((object) => object.kind === kind).map((object) => [refKey(object.metadata), object]));
  const [virtualMeshes, meshes, kubernetesClusters] = [of("VirtualMesh"), of("Mesh"), of("KubernetesCluster")];
  return reader.read({ virtualMeshes, meshes, kubernetesClusters }, []);
}

const intentOfObjects = (objects: readonly KubeObject[]) => snapshotOf(worldOf(objects));

test("world - the objects give the intent that the same files give", () => {
  const fromFiles = snapshotOfFiles(TEXTS.map((text, index) => parseResources(text, `${index}.yaml`)));
  const fromObjects = intentOfObjects(stored());
  const essence = ({ virtualMeshes, meshes, kubernetesClusters, problems }: typeof fromObjects) => ({
    resources: [...virtualMeshes, ...meshes, ...kubernetesClusters].map(({ kind, metadata, spec }) => [
      kind,
      metadata.namespace,
      metadata.name,
      spec,
    ]),
    problems,
  });
  assert.deepEqual(essence(fromObjects), essence(fromFiles));
  assert.deepEqual(
    [...validate(fromObjects).values()].map(({ state }) => state),
    ["ACCEPTED"],
  );
});

test("world - a status, even one of another version, changes no intent; a spec and what applies do", () => {
  const written = changed("VirtualMesh", (object) => ({
    ...object,
    metadata: { ...object.metadata, resourceVersion: "99" },
    status: { state: "FROM_THE_FUTURE" },
  }));
  assert.deepEqual(intentOfObjects(written).problems, []);
  const before = intentVersion(worldOf(stored()));
  assert.equal(intentVersion(worldOf(written)), before);
  const withStatus = (status: MeshStatus) => worldOf(changed("Mesh", (object) => ({ ...object, status })));
  assert.equal(intentVersion(withStatus({ issuedCertificate: { state: "FINISHED" } })), before);
  const edited = changed("VirtualMesh", (object) => ({ ...object, metadata: { ...object.metadata, generation: 2 } }));
  const others = [
    worldOf(edited),
    worldOf(stored().slice(1)),
    withStatus({ removal: { since: "2026-01-01T00:00:00.000Z" } }),
    withStatus({ appliedVirtualMesh: { ref: { name: "vm", namespace: "gloo-mesh" }, observedGeneration: 1 } }),
  ];
  assert.equal(new Set([before, ...others.map(intentVersion)]).size, 5);
});

test("world - an object that did not change is the same one in the next world", () => {
  const objects = stored();
  const [first, second] = [worldOf(objects), worldOf([...objects.slice(1), { ...objects[0]! }])];
  const shared = [...first.meshes].filter(([key, mesh]) => second.meshes.get(key) === mesh);
  assert.ok(shared.length >= first.meshes.size - 1);
});

test("world - the order in which objects were heard of changes nothing", () => {
  const keysOf = ({ meshes, stored }: World) => [...meshes.keys(), ...stored.keys()];
  const objects = stored();
  assert.deepEqual(keysOf(worldOf(objects.toReversed())), keysOf(worldOf(objects)));
  assert.equal(keysOf(worldOf(objects)).length, 3);
});

test("world - an object that does not fit its schema is a problem of its own, and harms no other", () => {
  const snapshot = intentOfObjects(
    changed("VirtualMesh", (object) => ({ ...object, spec: { meshes: [{ nme: "m" }] } })),
  );
  const [problem] = snapshot.problems;
  assert.deepEqual(
    [problem?.file, problem?.path, problem?.resource],
    [
      "VirtualMesh gloo-mesh/virtual-mesh",
      "spec.meshes[0].nme",
      { kind: "VirtualMesh", namespace: "gloo-mesh", name: "virtual-mesh" },
    ],
  );
  assert.deepEqual([snapshot.virtualMeshes.length, snapshot.meshes.length], [0, 2]);
  const [verdict] = validate(snapshot).values();
  assert.deepEqual([verdict?.outcome, verdict?.state], ["refused", "INVALID"]);
});

test("world - a deletionTimestamp is a removal on purpose; an object that is gone is missing", () => {
  const before = intentOfObjects(stored());
  const [accepted] = validate(before).values();
  assert.ok(accepted?.spec);
  const meshes = Object.fromEntries(before.meshes.map((mesh) => [`gloo-mesh/${mesh.metadata.name}`, mesh]));
  const intent = { ref: accepted.ref, generation: 1, acceptanceOrder: 1, spec: accepted.spec, meshes };
  const previous = new Map([["gloo-mesh/virtual-mesh", intent]]);
  const deleting = changed("VirtualMesh", (object) => ({
    ...object,
    metadata: { ...object.metadata, deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: ["example.com/hold"] },
  }));
  const outcomeOf = (objects: readonly KubeObject[]) =>
    [...validate(intentOfObjects(objects), previous).values()].map(({ outcome }) => outcome);
  assert.deepEqual(outcomeOf(deleting), ["removed"]);
  assert.deepEqual(outcomeOf(stored().filter(({ kind }) => kind !== "VirtualMesh")), ["missing"]);
  assert.deepEqual(outcomeOf([]), ["missing"]);
});
