import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { VirtualMesh } from "../../common/api/virtual-mesh.ts";
import { clusterNamed, meshOf, meshRef, snapshotWith, virtualMeshOf } from "./fixtures.ts";
import { foldLastGood } from "./last-good.ts";
import type { IntentSnapshot } from "./snapshot.ts";
import { validate } from "./validate.ts";
import type { AcceptedIntent } from "./verdict.ts";

type InForce = ReadonlyMap<string, AcceptedIntent>;

const step = (before: InForce, snapshot: IntentSnapshot): InForce => foldLastGood(before, validate(snapshot, before));

/** Clusters in force of a VirtualMesh, by number. */
function held(inForce: InForce, name = "vm"): number[] {
  return [1, 2, 3, 9].filter((number) => {
    return inForce.get(`gloo-mesh/${name}`)?.meshes[`gloo-mesh/${meshRef(number).name}`];
  });
}

const START = step(new Map(), snapshotWith([virtualMeshOf("vm", [1, 2])]));

describe("foldLastGood", () => {
  it("last good - an edit that is refused leaves the spec in force and says so", () => {
    const snapshot = snapshotWith([virtualMeshOf("vm", [1], { mtlsConfig: { limited: {} } })]);
    const verdict = validate(snapshot, START).get("gloo-mesh/vm");
    assert.deepEqual(foldLastGood(START, validate(snapshot, START)), START);
    assert.match(verdict?.accepted.message ?? "", /generation 1 stays in force$/);
    assert.equal(verdict?.generation, 2);
  });

  it("last good - a VirtualMesh that vanished stays in force as SourceMissing, with the files that cannot be read", () => {
    const problems = [{ code: "resource_invalid", path: "", message: "unreadable", file: "vm.yaml" }] as const;
    const verdict = validate(snapshotWith([], { problems }), START).get("gloo-mesh/vm");
    assert.deepEqual(step(START, snapshotWith([], { problems })), START);
    assert.deepEqual([verdict?.state, verdict?.accepted.reason], ["FAILED", "SourceMissing"]);
    assert.equal(verdict?.errors[1], "vm.yaml: unreadable");
  });

  it("last good - a source that is emptied removes nothing", () => {
    const empty = { virtualMeshes: [], meshes: [], kubernetesClusters: [], problems: [] };
    assert.deepEqual(step(START, empty), START);
  });

  it("last good - a Mesh or a registration that vanished keeps its last form", () => {
    const snapshot = snapshotWith([virtualMeshOf("vm", [1, 2])], {
      meshes: [meshOf(1)],
      kubernetesClusters: [clusterNamed("cluster-2")],
    });
    const verdict = validate(snapshot, START).get("gloo-mesh/vm");
    assert.deepEqual(held(step(START, snapshot)), [1, 2]);
    assert.equal(verdict?.state, "FAILED");
    assert.deepEqual(
      verdict.errors.map((error) => error.endsWith("; its last form stays in force")),
      [true, true],
    );
  });

  it("last good - a mesh leaves when it is taken out of the list, and all leave an empty one", () => {
    assert.deepEqual(held(step(START, snapshotWith([virtualMeshOf("vm", [2])]))), [2]);
    const emptied = step(START, snapshotWith([virtualMeshOf("vm", [])]));
    assert.deepEqual(held(emptied), []);
    assert.equal(emptied.get("gloo-mesh/vm")?.generation, 2);
  });

  it("last good - a slip in a mesh's name takes no mesh out, and new meshes still come in", () => {
    const snapshot = snapshotWith([virtualMeshOf("vm", [9, 2, 3])]);
    assert.deepEqual(held(step(START, snapshot)), [1, 2, 3]);
    const entry = validate(snapshot, START).get("gloo-mesh/vm")?.meshes["istiod-istio-system-cluster-1.gloo-mesh."];
    assert.match(entry?.warnings[0] ?? "", /^not listed any more; stays in force/);
  });

  it("last good - a VirtualMesh that is being deleted leaves", () => {
    const deleted = virtualMeshOf("vm", [1, 2], {}, { deletionTimestamp: "2026-01-01T00:00:00Z" });
    assert.deepEqual(step(START, snapshotWith([deleted])), new Map());
  });

  it("last good - a mesh moves to a VirtualMesh that lists it once its own lists it no more, or is missing", () => {
    const moved = step(START, snapshotWith([virtualMeshOf("vm", [1]), virtualMeshOf("new", [2])]));
    assert.deepEqual([held(moved), held(moved, "new")], [[1], [2]]);
    const renamed = step(START, snapshotWith([virtualMeshOf("new", [1, 2])]));
    assert.deepEqual([held(renamed), held(renamed, "new")], [[], [1, 2]]);
  });

  it("last good - over any history, no mesh has two VirtualMeshes, and none leaves unless it was taken out", () => {
    const virtualMesh = fc
      .record({ name: fc.constantFrom("a", "b"), meshes: fc.subarray([1, 2, 3, 9]), isBroken: fc.boolean() })
      .map(({ name, meshes, isBroken }) => virtualMeshOf(name, meshes, isBroken ? { mtlsConfig: {} } : {}));
    const virtualMeshes = fc.uniqueArray(virtualMesh, { selector: ({ metadata }) => metadata.name, maxLength: 2 });
    const numbers = fc.subarray([1, 2, 3]);
    const snapshots = fc.tuple(virtualMeshes, numbers, numbers).map(([all, meshes, clusters]) =>
      snapshotWith(all, {
        meshes: meshes.map((number) => meshOf(number)),
        kubernetesClusters: clusters.map((number) => clusterNamed(`cluster-${number}`)),
      }),
    );
    fc.assert(
      fc.property(fc.array(snapshots, { maxLength: 6 }), (history) => {
        let inForce: InForce = new Map();
        for (const snapshot of history) {
          const before = inForce;
          inForce = step(before, snapshot);
          const all = [...held(inForce, "a"), ...held(inForce, "b")];
          assert.equal(new Set(all).size, all.length, "two owners");
          for (const name of ["a", "b"]) {
            const gone = held(before, name).filter((number) => !all.includes(number));
            const own = snapshot.virtualMeshes.find(({ metadata }) => metadata.name === name);
            for (const number of gone) assert.ok(own && tookOut(own, number), `${name} lost ${number}`);
          }
          assert.deepEqual(step(inForce, snapshot), inForce, "a second look changes nothing");
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** The VirtualMesh is there, is sound, and does not list the mesh. */
function tookOut({ spec }: VirtualMesh, number: number): boolean {
  return spec.mtlsConfig?.shared !== undefined && !spec.meshes?.some(({ name }) => name === meshRef(number).name);
}
