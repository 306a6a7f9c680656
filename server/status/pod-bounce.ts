import { PodBounceState, type PodBounceStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { ConditionFact } from "../intent/verdict.ts";
import { someOf } from "../intent/naming.ts";
import type { CertificateReport } from "./report.ts";

/** What people must know before it happens. */
const OUTAGE = "traffic between restarted and unrestarted pods fails meanwhile";

/** Reasons of the condition, from what is most worth knowing to what is least. */
const REASONS = ["Failed", "Restarting", "Pending", "Finished"] as const;
type Reason = (typeof REASONS)[number];

const STATES: Partial<Record<PodBounceState, Reason>> = {
  [PodBounceState.POD_BOUNCE_STATE_BOUNCING]: "Restarting",
  [PodBounceState.POD_BOUNCE_STATE_FINISHED]: "Finished",
  [PodBounceState.POD_BOUNCE_STATE_FAILED]: "Failed",
};

/**
 * The condition `AutoRestartPods` of a VirtualMesh that asks for restarts: True when all that a changed root asked for
 * are done. A cluster that says nothing has found no reason yet.
 */
export function podBounceFact(reports: readonly CertificateReport[], generation: number): ConditionFact {
  const stages = reports.map(({ cluster, certificate }) => {
    return { cluster, reason: reasonOf(certificate?.podBounce), bounce: certificate?.podBounce };
  });
  const reason = REASONS.find((each) => stages.some((stage) => stage.reason === each)) ?? "Pending";
  const ranked = stages.toSorted((a, b) => REASONS.indexOf(a.reason) - REASONS.indexOf(b.reason));
  const told = ranked.map(({ cluster, reason: own, bounce }) => `${cluster}: ${describe(own, bounce)}`);
  const warning = reason === "Finished" ? [] : [OUTAGE];
  return {
    type: "AutoRestartPods",
    status: reason === "Finished" ? "True" : "False",
    observedGeneration: generation,
    reason,
    message: [someOf(told, "; "), ...warning].join("; "),
  };
}

/** Remarks on the restart of a mesh's pods; `isAutomatic`: the VirtualMesh asks for it. */
export function podBounceWarnings({ cluster, certificate }: CertificateReport, isAutomatic: boolean): string[] {
  const bounce = certificate?.podBounce;
  const reason = reasonOf(bounce);
  const warnings: string[] = [];
  if (reason === "Restarting" || reason === "Failed") {
    warnings.push(`AutoRestartPods: cluster ${cluster}, ${describe(reason, bounce)}; ${OUTAGE}`);
  } else if (reason === "Pending" && isAutomatic) {
    const order = "gateways, then workloads, are restarted when the root changes";
    warnings.push(`AutoRestartPods: in cluster ${cluster} ${order}; ${OUTAGE}`);
  }
  const unmanaged = bounce?.unmanaged ?? [];
  if (unmanaged.length > 0) {
    warnings.push(`pods that nobody would replace are not restarted, do it by hand: ${unmanaged.join(", ")}`);
  }
  return warnings;
}

const reasonOf = (bounce: PodBounceStatus | undefined): Reason => STATES[bounce?.state ?? 0] ?? "Pending";

function describe(reason: Reason, bounce: PodBounceStatus | undefined): string {
  if (!bounce) return "nothing to restart yet";
  const { restarted, remaining, message } = bounce;
  const count = restarted + remaining > 0 ? `${restarted} of ${restarted + remaining} pods restarted` : "";
  return [reason.toLowerCase(), count, message].filter((part) => part !== "").join(", ");
}
