import { nameOf, refKey, statusKey } from "../../common/api/meta.ts";
import { type ApprovalState, NOT_LISTED } from "../../common/api/virtual-mesh.ts";
import { candidatesOf, type Candidate } from "./candidates.ts";
import { judgeMeshes, meshContext, type MeshContext } from "./mesh-checks.ts";
import { someOf } from "./naming.ts";
import { ownersOf } from "./owners.ts";
import type { IntentSnapshot } from "./snapshot.ts";
import type { AcceptedIntent, ConditionFact, MeshVerdict, Verdict } from "./verdict.ts";

/**
 * Judges every VirtualMesh of the snapshot, and every one that is in force (`previous`) without being there any more.
 * Keyed by `refKey`. What is in force afterwards is `foldLastGood` of the same `previous` and the result.
 */
export function validate(
  snapshot: IntentSnapshot,
  previous: ReadonlyMap<string, AcceptedIntent> = new Map(),
): Map<string, Verdict> {
  const candidates = candidatesOf(snapshot, previous);
  const context = meshContext(snapshot, previous, ownersOf(candidates));
  let lastOrder = Math.max(0, ...[...previous.values()].map(({ acceptanceOrder }) => acceptanceOrder));
  return new Map(
    candidates.map((candidate) => {
      const isNew = candidate.outcome === "accepted" && !candidate.previous;
      const acceptanceOrder = isNew ? ++lastOrder : candidate.previous?.acceptanceOrder;
      const verdict = judge(candidate, context);
      return [refKey(candidate.ref), { ...verdict, ...(acceptanceOrder !== undefined && { acceptanceOrder }) }];
    }),
  );
}

function judge(candidate: Candidate, context: MeshContext): Verdict {
  switch (candidate.outcome) {
    case "accepted":
      return judgeAccepted(candidate, context);
    case "refused":
      return judgeRefused(candidate);
    case "missing":
      return judgeMissing(candidate, context);
    case "removed":
      return verdictOf(candidate, {
        state: "ACCEPTED",
        errors: [],
        meshes: {},
        reason: "Removed",
        message: "the VirtualMesh is being deleted",
      });
  }
}

function judgeAccepted(candidate: Candidate, context: MeshContext): Verdict {
  const { spec = {} } = candidate;
  const listed = judgeMeshes(spec.meshes ?? [], candidate.ref, context);
  const judged = Object.values(listed);
  const good = judged.filter(({ state }) => state === "ACCEPTED").length;
  const isClean = good === judged.length;
  const meshes = isClean ? listed : { ...unlisted(candidate, context), ...listed };
  const errors = judged.flatMap((mesh) => mesh.errors);
  const reason = isClean ? "Accepted" : good === 0 ? "NoMeshAccepted" : "PartlyAccepted";
  const message = sentence(`${good} of ${judged.length} meshes accepted`, someOf(errors, "; "));
  return { ...verdictOf(candidate, { state: worst(judged), errors, meshes, reason, message }), spec };
}

/** Meshes in force that the edit does not list, while something that it lists is not good: it may be a slip. */
function unlisted(candidate: Candidate, context: MeshContext): Record<string, MeshVerdict> {
  const warnings = [`${NOT_LISTED}; stays in force until every listed mesh is accepted`];
  return Object.fromEntries(
    unclaimed(candidate, context).map((verdict) => [statusKey(verdict.ref), { ...verdict, warnings }]),
  );
}

function judgeRefused(candidate: Candidate): Verdict {
  const { previous, errors } = candidate;
  const kept = previous ? `generation ${previous.generation} stays in force` : "nothing is in force";
  const meshes = heldBy(candidate).map((verdict): [string, MeshVerdict] => [
    statusKey(verdict.ref),
    { ...verdict, state: "INVALID", errors: [`the VirtualMesh was refused, ${kept}`] },
  ]);
  return verdictOf(candidate, {
    state: "INVALID",
    errors,
    meshes: Object.fromEntries(meshes),
    reason: "Invalid",
    message: sentence(someOf(errors, "; "), kept),
  });
}

function judgeMissing(candidate: Candidate, context: MeshContext): Verdict {
  const kept = `generation ${candidate.generation} stays in force`;
  const hint = "to release its meshes, write it again with an empty spec.meshes";
  const errors = [`the VirtualMesh is missing from its source, ${kept} (${hint})`, ...candidate.errors];
  const meshes = unclaimed(candidate, context).map((verdict) => [statusKey(verdict.ref), verdict] as const);
  return verdictOf(candidate, {
    state: "FAILED",
    errors,
    meshes: Object.fromEntries(meshes),
    reason: "SourceMissing",
    message: someOf(errors, "; "),
  });
}

/** Meshes in force that no other VirtualMesh has taken. */
function unclaimed(candidate: Candidate, { owners }: MeshContext): MeshVerdict[] {
  return heldBy(candidate).filter(({ ref }) => {
    const owner = owners.get(refKey(ref));
    return !owner || refKey(owner) === refKey(candidate.ref);
  });
}

function heldBy({ previous }: Candidate): MeshVerdict[] {
  return Object.values(previous?.meshes ?? {}).map((mesh) => {
    return { ref: nameOf(mesh), state: "ACCEPTED", errors: [], warnings: [], mesh };
  });
}

const sentence = (...parts: readonly string[]): string => parts.filter((part) => part !== "").join("; ");

type Judgement = Pick<Verdict, "state" | "errors" | "meshes"> & Pick<ConditionFact, "reason" | "message">;

function verdictOf({ ref, outcome, generation }: Candidate, judgement: Judgement): Verdict {
  const { reason, message, ...rest } = judgement;
  const status = reason === "Accepted" || reason === "Removed" ? "True" : "False";
  const accepted = { type: "Accepted", status, observedGeneration: generation, reason, message } as const;
  return { ref, outcome, generation, ...rest, accepted };
}

/** A VirtualMesh of which one mesh is in force is at work, so PENDING needs all of them to be. */
function worst(meshes: readonly MeshVerdict[]): ApprovalState {
  const has = (state: ApprovalState): boolean => meshes.some((mesh) => mesh.state === state);
  if (has("INVALID")) return "INVALID";
  if (has("FAILED")) return "FAILED";
  return has("PENDING") && !has("ACCEPTED") ? "PENDING" : "ACCEPTED";
}
