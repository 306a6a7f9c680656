import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Mesh, MeshStatus } from "../../common/api/discovery.ts";
import { nameOf, refKey } from "../../common/api/meta.ts";
import type { VirtualMesh } from "../../common/api/virtual-mesh.ts";
import { leaderPartOf, nextLeaderPart } from "../status/mesh-part.ts";
import { clusterNamed, meshOf, virtualMeshOf } from "./fixtures.ts";
import { Judge } from "./judge.ts";

const NUMBERS = [1, 2, 3] as const;
const keyOfMesh = (number: number): string => refKey(nameOf(meshOf(number)));

/** An API server with a leader that works on it, both as simple as can be. */
class Model {
  readonly meshes = new Map<number, Mesh>(NUMBERS.map((number) => [number, meshOf(number)]));
  readonly virtualMeshes = new Map<string, VirtualMesh>();
  /** Meshes that were removed from at any time, by number. */
  readonly removed = new Set<number>();
  #generation = 0;
  #nowMs = 1_000;
  #judge = new Judge();

  write(name: string, numbers: readonly number[], spec = {}): void {
    const metadata = { generation: ++this.#generation, uid: name };
    this.virtualMeshes.set(name, virtualMeshOf(name, numbers, spec, metadata));
  }

  newLeader(): void {
    this.#judge = new Judge();
  }

  /** One pass; what it decides is written to the meshes of these numbers, as if the leader stopped in between. */
  pass(written: readonly number[] = NUMBERS) {
    const judgement = this.#judge.pass(this.#snapshot(), ++this.#nowMs);
    for (const number of written) {
      const mesh = this.meshes.get(number);
      if (!mesh) continue;
      const part = nextLeaderPart(mesh, judgement, this.#nowMs);
      if (part.removal) this.removed.add(number);
      this.#setStatus(number, part);
    }
    return judgement;
  }

  acknowledge(): void {
    for (const [number, { status }] of this.meshes) {
      const since = status?.removal?.since;
      if (since === undefined) continue;
      this.#setStatus(number, { ...status, issuedCertificate: { acknowledgedRemoval: since } });
    }
  }

  /** Passes and answers until nothing changes any more. */
  settle(): void {
    for (let round = 0; round < 4; round++) {
      this.pass();
      this.acknowledge();
    }
    const before = new Map(this.meshes);
    this.pass();
    assert.deepEqual([...this.meshes], [...before], "it comes to rest");
  }

  statusOf(number: number): MeshStatus {
    return this.meshes.get(number)?.status ?? {};
  }

  /** Numbers of the meshes that a VirtualMesh applies to. */
  applied(): number[] {
    return NUMBERS.filter((number) => this.statusOf(number).appliedVirtualMesh);
  }

  #snapshot() {
    return {
      virtualMeshes: [...this.virtualMeshes.values()],
      meshes: [...this.meshes.values()],
      kubernetesClusters: NUMBERS.map((number) => clusterNamed(`cluster-${number}`)),
      problems: [],
    };
  }

  #setStatus(number: number, part: MeshStatus): void {
    const mesh = this.meshes.get(number) ?? meshOf(number);
    const { issuedCertificate } = { ...mesh.status, ...part };
    this.meshes.set(number, { ...mesh, status: { ...part, ...(issuedCertificate && { issuedCertificate }) } });
  }
}

describe("Judge", () => {
  it("judge - what is accepted stands in every Mesh with its generation and rank", () => {
    const model = new Model();
    model.write("vm", [1, 2]);
    model.pass();
    const { appliedVirtualMesh: applied, observedGeneration } = model.statusOf(1);
    assert.deepEqual(applied?.ref, { namespace: "gloo-mesh", name: "vm" });
    assert.deepEqual([applied.observedGeneration, applied.acceptanceOrder, observedGeneration], [1, 1, 0]);
    assert.deepEqual(applied.spec, virtualMeshOf("vm", [1, 2]).spec);
    assert.deepEqual(model.applied(), [1, 2]);
  });

  it("judge - a broken edit keeps the last good spec, for a new leader as well", () => {
    const model = new Model();
    model.write("vm", [1, 2]);
    model.pass();
    model.write("vm", [1], { mtlsConfig: { limited: {} } });
    model.newLeader();
    const { verdicts } = model.pass();
    assert.match(verdicts.get("gloo-mesh/vm")?.accepted.message ?? "", /generation 1 stays in force$/);
    assert.deepEqual(model.applied(), [1, 2]);
  });

  it("judge - a VirtualMesh that vanished leaves its meshes Detached and removes nothing; made again it has them", () => {
    const model = new Model();
    model.write("vm", [1, 2]);
    model.pass();
    model.virtualMeshes.clear();
    model.newLeader();
    model.pass();
    assert.deepEqual(model.applied(), [1, 2]);
    const [detached] = model.statusOf(1).conditions ?? [];
    assert.deepEqual([detached?.type, detached?.status, detached?.reason], ["Detached", "True", "VirtualMeshMissing"]);
    model.write("vm", [1, 2]);
    model.settle();
    assert.equal(model.statusOf(1).conditions, undefined);
    assert.deepEqual([...model.removed], []);
  });

  it("judge - a mesh that is taken out has a removal until its agent has acknowledged it", () => {
    const model = new Model();
    model.write("vm", [1, 2]);
    model.pass();
    model.write("vm", [1]);
    model.pass();
    const { removal, appliedVirtualMesh } = model.statusOf(2);
    assert.equal(appliedVirtualMesh, undefined);
    assert.deepEqual(removal?.virtualMesh, { namespace: "gloo-mesh", name: "vm" });
    model.newLeader();
    model.pass();
    assert.deepEqual(model.statusOf(2).removal, removal, "it keeps its time");
    model.acknowledge();
    model.pass();
    assert.equal(model.statusOf(2).removal, undefined);
    model.pass();
    assert.equal(model.statusOf(2).removal, undefined, "it does not come again");
  });

  it("judge - a removal outlives a leader that stopped before it was written, and a Mesh that was gone meanwhile", () => {
    const model = new Model();
    model.write("vm", [1, 2]);
    model.pass();
    model.write("vm", [1]);
    model.pass([]);
    model.newLeader();
    model.pass();
    assert.ok(model.statusOf(2).removal, "decided anew of what stands in the Mesh");

    const other = new Model();
    other.write("vm", [1, 2]);
    other.pass();
    other.meshes.delete(2);
    other.write("vm", [1]);
    other.pass();
    other.meshes.set(2, meshOf(2));
    other.pass();
    assert.ok(other.statusOf(2).removal, "told to the Mesh that discovery made again");
  });

  it("judge - a Mesh that was deleted by hand gets its intent again when discovery has made it again", () => {
    const model = new Model();
    model.write("vm", [1, 2]);
    model.pass();
    model.meshes.delete(2);
    const { verdicts, inForce } = model.pass();
    assert.match(verdicts.get("gloo-mesh/vm")?.errors.join() ?? "", /its last form stays in force/);
    assert.ok(inForce.get("gloo-mesh/vm")?.meshes[keyOfMesh(2)]);
    model.meshes.set(2, meshOf(2));
    model.settle();
    assert.deepEqual([model.applied(), [...model.removed]], [[1, 2], []]);
  });

  it("judge - what a backup brought back is in force, not removed, even while a leader leads", () => {
    const model = new Model();
    model.write("vm", [1]);
    model.pass();
    const applied = {
      ref: { namespace: "gloo-mesh", name: "lost" },
      observedGeneration: 7,
      acceptanceOrder: 2,
      spec: {},
    };
    model.meshes.set(3, { ...meshOf(3), status: { observedGeneration: 0, appliedVirtualMesh: applied } });
    model.settle();
    assert.deepEqual([model.applied(), [...model.removed]], [[1, 3], []]);
    assert.equal(model.statusOf(3).conditions?.[0]?.reason, "VirtualMeshMissing");
  });

  it("judge - a certificate that nothing asks for makes its Mesh Detached", () => {
    const mesh: Mesh = { ...meshOf(1), status: { issuedCertificate: { detached: true } } };
    const snapshot = { virtualMeshes: [], meshes: [mesh], kubernetesClusters: [], problems: [] };
    const part = nextLeaderPart(mesh, new Judge().pass(snapshot, 0), 0);
    assert.deepEqual(
      part.conditions?.map(({ reason }) => reason),
      ["NothingApplied"],
    );
    assert.deepEqual(leaderPartOf({ ...mesh, status: { ...mesh.status, ...part } }), part);
  });
});

type Step = (model: Model) => void;

const someNumbers = fc.subarray([...NUMBERS]);
const number = fc.constantFrom(...NUMBERS);
const name = fc.constantFrom("a", "b");
const disturbances: fc.Arbitrary<Step> = fc.oneof(
  fc.constant<Step>((model) => model.newLeader()),
  fc.constant<Step>((model) => model.acknowledge()),
  someNumbers.map(
    (written): Step =>
      (model) =>
        void model.pass(written),
  ),
  name.map(
    (each): Step =>
      (model) =>
        void model.virtualMeshes.delete(each),
  ),
  name.map(
    (each): Step =>
      (model) =>
        model.write(each, [1], { mtlsConfig: { limited: {} } }),
  ),
  number.map(
    (each): Step =>
      (model) =>
        void model.meshes.delete(each),
  ),
  number.map(
    (each): Step =>
      (model) =>
        void model.meshes.set(each, model.meshes.get(each) ?? meshOf(each)),
  ),
);
const edits: fc.Arbitrary<Step> = fc.tuple(name, someNumbers).map(([each, numbers]) => (model) => {
  model.write(each, numbers);
});

describe("Judge properties", () => {
  it("judge - whatever is lost, broken or restarted, nothing is removed that nobody took out", () => {
    fc.assert(
      fc.property(fc.array(disturbances, { maxLength: 20 }), (steps) => {
        const model = new Model();
        model.write("a", [1, 2]);
        model.write("b", [3]);
        model.pass();
        for (const step of steps) {
          const before = new Map([...model.meshes].filter(([, { status }]) => status?.appliedVirtualMesh));
          step(model);
          for (const [each] of before) {
            if (model.meshes.has(each)) assert.ok(model.statusOf(each).appliedVirtualMesh, `mesh ${each}`);
          }
        }
        assert.deepEqual([...model.removed], []);
      }),
      { numRuns: 300 },
    );
  });

  it("judge - whatever came before, it comes to rest at what the VirtualMeshes say", () => {
    const steps = fc.array(fc.oneof(disturbances, edits), { maxLength: 25 });
    fc.assert(
      fc.property(steps, someNumbers, (before, wanted) => {
        const model = new Model();
        for (const step of before) step(model);
        for (const each of NUMBERS) model.meshes.set(each, model.meshes.get(each) ?? meshOf(each));
        // Both are there, so that nothing is kept for one that is missing.
        model.write("b", []);
        model.pass();
        model.write("a", wanted);
        model.settle();
        assert.deepEqual(model.applied(), wanted);
        assert.ok(NUMBERS.every((each) => !model.statusOf(each).removal));
      }),
      { numRuns: 300 },
    );
  });
});
