import type { Mesh } from "../../common/api/discovery.ts";
import type { Condition, NamespacedName } from "../../common/api/meta.ts";
import type { Path } from "../../common/api/problem.ts";
import type { ApprovalState, VirtualMeshSpec } from "../../common/api/virtual-mesh.ts";

/** One fault of a spec, before its place in a file is known. */
export interface SpecFault {
  readonly path: Path;
  /** Lower case, no full stop, with the value and the bound. */
  readonly message: string;
  readonly hint?: string;
}

/** A condition without its time, which the status fold keeps. */
export type ConditionFact = Omit<Condition, "lastTransitionTime">;

/** The last good intent of a VirtualMesh: what the clusters shall follow. Plain JSON, so that a store can keep it. */
export interface AcceptedIntent {
  readonly ref: NamespacedName;
  /** Generation of the VirtualMesh that `spec` is of. */
  readonly generation: number;
  /** Rank among all VirtualMeshes, from 1, in the order in which they were accepted. */
  readonly acceptanceOrder: number;
  readonly spec: VirtualMeshSpec;
  /** The meshes in force, as they were when they were last seen, by `refKey`. */
  readonly meshes: Readonly<Record<string, Mesh>>;
}

/**
 * What is to become of a VirtualMesh:
 * accepted, its spec is sound and replaces the one in force; refused, the one in force stays; missing, it is not in the
 * source any more, and the one in force stays; removed, it is being deleted on purpose, and nothing stays.
 */
export type Outcome = "accepted" | "refused" | "missing" | "removed";

/** Judgement of one VirtualMesh. */
export interface Verdict {
  readonly ref: NamespacedName;
  readonly outcome: Outcome;
  /** Generation that was judged; of a missing VirtualMesh, the one in force. */
  readonly generation: number;
  readonly state: ApprovalState;
  readonly errors: readonly string[];
  /** By `statusKey`. */
  readonly meshes: Readonly<Record<string, MeshVerdict>>;
  /** Present when accepted. */
  readonly spec?: VirtualMeshSpec;
  /** Present when accepted, or when an earlier generation was. */
  readonly acceptanceOrder?: number;
  /** The condition `Accepted`. */
  readonly accepted: ConditionFact;
}

/** Judgement of one mesh of a VirtualMesh. */
export interface MeshVerdict {
  /** As listed; a part that is missing is "". */
  readonly ref: NamespacedName;
  readonly state: ApprovalState;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
  /** The Mesh that is in force from now on: as it is, or as it was last seen. Absent: nothing is in force. */
  readonly mesh?: Mesh;
}
