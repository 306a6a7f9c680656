import type { Mesh, MeshStatus } from "../../common/api/discovery.ts";
import { nameOf, refKey } from "../../common/api/meta.ts";
import { stampConditions } from "./conditions.ts";
import type { Judgement } from "../intent/judge.ts";
import type { ConditionFact } from "../intent/verdict.ts";

/** What the leader writes of a Mesh's status. */
export type LeaderPart = Pick<MeshStatus, "observedGeneration" | "appliedVirtualMesh" | "removal" | "conditions">;

/** The leader's part as it is stored. */
export function leaderPartOf({ status = {} }: Mesh): LeaderPart {
  const { observedGeneration, appliedVirtualMesh, removal } = status;
  const conditions = status.conditions?.filter(({ type }) => type === "Detached") ?? [];
  return {
    ...(observedGeneration !== undefined && { observedGeneration }),
    ...(appliedVirtualMesh && { appliedVirtualMesh }),
    ...(removal && { removal }),
    ...(conditions.length > 0 && { conditions }),
  };
}

/** The leader's part as it shall be. A removal stays until the agent has acknowledged it. */
export function nextLeaderPart(mesh: Mesh, { verdicts, owners, takenOut }: Judgement, nowMs: number): LeaderPart {
  const key = refKey(nameOf(mesh));
  const intent = owners.get(key);
  const removal = intent ? undefined : (pendingRemoval(mesh) ?? takenOut.get(key));
  const facts = intent ? missingFacts(verdicts.get(refKey(intent.ref))?.outcome) : detachedFacts(mesh);
  const conditions = stampConditions(facts, mesh.status?.conditions, { now: () => nowMs });
  return {
    observedGeneration: mesh.metadata.generation ?? 0,
    ...(intent && {
      appliedVirtualMesh: {
        ref: intent.ref,
        observedGeneration: intent.generation,
        acceptanceOrder: intent.acceptanceOrder,
        spec: intent.spec,
      },
    }),
    ...(removal && { removal }),
    ...(conditions.length > 0 && { conditions }),
  };
}

function pendingRemoval({ status }: Mesh): MeshStatus["removal"] {
  const removal = status?.removal;
  return removal?.since !== undefined && removal.since === status?.issuedCertificate?.acknowledgedRemoval
    ? undefined
    : removal;
}

/** The VirtualMesh is gone without having released the mesh: nothing is removed by absence. */
function missingFacts(outcome: string | undefined): ConditionFact[] {
  if (outcome !== "missing") return [];
  const hint = "to release it, make the VirtualMesh again with an empty spec.meshes";
  const message = `the VirtualMesh is missing; what it asked for last stays in force (${hint})`;
  return [{ type: "Detached", status: "True", reason: "VirtualMeshMissing", message }];
}

/** The agent keeps a certificate that nothing asks for: a mesh that was taken out, or a management cluster made anew. */
function detachedFacts({ status }: Mesh): ConditionFact[] {
  if (status?.issuedCertificate?.detached !== true) return [];
  const message = "no VirtualMesh applies to the mesh; the certificate stays in force while an istiod uses it";
  return [{ type: "Detached", status: "True", reason: "NothingApplied", message }];
}
