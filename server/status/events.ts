import type { IssuedCertificateReplica } from "../../common/api/certificates.ts";
import type { MeshCertificateStatus } from "../../common/api/discovery.ts";
import type { VirtualMeshStatus } from "../../common/api/virtual-mesh.ts";
import type { EventFacts } from "../../common/kube/events.ts";

/** An event without the object that it is about. */
export type Happening = Omit<EventFacts, "regarding">;

/** What people should hear of a change of a VirtualMesh's status. */
export function virtualMeshEvents(before: VirtualMeshStatus | undefined, now: VirtualMeshStatus): Happening[] {
  return [...stateEvents(before, now), ...readyEvents(before, now)];
}

/** What people should hear of a change of what an agent says of a mesh's certificate. */
export function certificateEvents(
  before: MeshCertificateStatus | undefined,
  now: MeshCertificateStatus | undefined,
): Happening[] {
  const known = new Map((before?.replicas ?? []).map((replica) => [replica.podUid, replica]));
  const told = (now?.replicas ?? []).flatMap((replica) => replicaEvents(known.get(replica.podUid), replica));
  if (now?.detached !== true || before?.detached === true) return told;
  const note = "no VirtualMesh asks for the certificate any more; it stays in force while an istiod uses it";
  return [...told, { type: "Warning", action: "Report", reason: "CertificateDetached", note }];
}

const STATES = { PENDING: "Pending", ACCEPTED: "Accepted", INVALID: "Invalid", FAILED: "Failed" } as const;

function stateEvents(before: VirtualMeshStatus | undefined, now: VirtualMeshStatus): Happening[] {
  const { state = "PENDING", observedGeneration: generation = 0, errors = [] } = now;
  const isRefusedAnew = state === "INVALID" && before?.observedGeneration !== generation;
  if (before?.state === state && !isRefusedAnew) return [];
  const type = state === "INVALID" || state === "FAILED" ? "Warning" : "Normal";
  const why = errors.length > 0 ? errors.join("; ") : (conditionOf(now, "Accepted")?.message ?? "");
  return [{ type, action: "Judge", reason: STATES[state], note: `generation ${generation}: ${why}` }];
}

function readyEvents(before: VirtualMeshStatus | undefined, now: VirtualMeshStatus): Happening[] {
  const [was, is] = [conditionOf(before, "Ready")?.status, conditionOf(now, "Ready")];
  if (!is || is.status === was) return [];
  if (is.status === "True") return [{ type: "Normal", action: "Issue", reason: "Ready", note: is.message }];
  return was === "True" ? [{ type: "Warning", action: "Issue", reason: "NotReady", note: is.message }] : [];
}

function replicaEvents(before: IssuedCertificateReplica | undefined, now: IssuedCertificateReplica): Happening[] {
  return [...issueEvents(before, now), ...failureEvents(before, now)];
}

function issueEvents(before: IssuedCertificateReplica | undefined, now: IssuedCertificateReplica): Happening[] {
  const { podName = now.podUid, serial, notAfter = "an unknown time", state } = now;
  const isInForce = serial !== undefined && (state === "ISSUED" || state === "FINISHED");
  if (!isInForce || serial === before?.serial) return [];
  const reason = before?.serial === undefined ? "CertificateIssued" : "CertificateRenewed";
  const note = `pod ${podName} has serial ${serial}, good until ${notAfter}`;
  return [{ type: "Normal", action: "Report", reason, note }];
}

function failureEvents(before: IssuedCertificateReplica | undefined, now: IssuedCertificateReplica): Happening[] {
  const { podName = now.podUid, error } = now;
  if (!error || error.code === before?.error?.code) return [];
  const note = `pod ${podName}: ${error.code ?? "unknown"}: ${error.message ?? ""}`;
  return [{ type: "Warning", action: "Report", reason: "CertificateFailed", note }];
}

const conditionOf = (status: VirtualMeshStatus | undefined, wanted: string) =>
  status?.conditions?.find(({ type }) => type === wanted);
