import type { NamespacedName } from "../../common/api/meta.ts";
import {
  CertificateState,
  type CertificateError,
  type IssuedCertificateStatus,
  type ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";

/** What the server knows of one mesh's certificate in its cluster. */
export interface CertificateReport {
  readonly cluster: string;
  readonly mesh: NamespacedName;
  /** The cluster's agent holds its session open. */
  readonly connected: boolean;
  /** The agent has stored the intent in force, or there is none to store. */
  readonly applied: boolean;
  /** The cluster's identity was taken away: its agent gets nothing new. */
  readonly revoked?: boolean;
  /** Why the agent refused the intent in force. */
  readonly rejected?: string;
  /** What the agent reported last; absent when it never did. */
  readonly certificate?: IssuedCertificateStatus;
}

/** Every istiod of the mesh has its files, or was seen to sign with them. */
export function isIssued(report: CertificateReport): boolean {
  const replicas = speakingReplicas(report);
  return replicas.length > 0 && replicas.every(holdsIssued);
}

/** Every istiod of the mesh was seen to sign with its certificate. */
export function isProved(report: CertificateReport): boolean {
  const replicas = speakingReplicas(report);
  return replicas.length > 0 && replicas.every(({ state }) => state === CertificateState.CERTIFICATE_STATE_FINISHED);
}

/**
 * The istiods that speak for the mesh: those that are linked. One that went away counts only while none is, because a
 * pod that was replaced never says goodbye.
 */
export function speakingReplicas({ certificate }: CertificateReport): readonly ReplicaStatus[] {
  const replicas = certificate?.replicas ?? [];
  const linked = replicas.filter(({ connected }) => connected);
  return linked.length > 0 ? linked : replicas;
}

export function holdsIssued({ state }: ReplicaStatus): boolean {
  return state === CertificateState.CERTIFICATE_STATE_ISSUED || state === CertificateState.CERTIFICATE_STATE_FINISHED;
}

/** Why the mesh's certificate is not as wanted, one sentence per istiod. */
export function faultsOf(report: CertificateReport): string[] {
  const { cluster, rejected, certificate } = report;
  const faults = rejected === undefined ? [] : [`cluster ${cluster} refused the certificate: ${rejected}`];
  if (certificate?.error) faults.push(`cluster ${cluster}: ${describeError(certificate.error)}`);
  for (const replica of speakingReplicas(report)) {
    const { state, error, podName } = replica;
    if (state !== CertificateState.CERTIFICATE_STATE_FAILED && !error) continue;
    const reason = error ? describeError(error) : "failed without a reason";
    faults.push(`cluster ${cluster}, pod ${podName}: ${reason}${runwayOf(replica)}`);
  }
  return faults;
}

/** Remarks that are no failures. */
export function warningsOf(report: CertificateReport): string[] {
  const { cluster, certificate, revoked } = report;
  const remarks = speakingReplicas(report).flatMap(({ podName, warnings }) => {
    return warnings.map((warning) => `pod ${podName}: ${warning}`);
  });
  const detached = `the intent is gone from cluster ${cluster}, the certificate stays in force while istiod uses it`;
  return [
    ...(revoked
      ? [`cluster ${cluster} is revoked; to let it in: meshctl cluster register ${cluster} --renew-token`]
      : []),
    ...(certificate?.detached ? [`Detached: ${detached}`] : []),
    ...remarks,
  ];
}

/** How long an older certificate goes on, where there is one. */
function runwayOf({ serial, notAfter }: ReplicaStatus): string {
  return serial === "" || !notAfter ? "" : `; the certificate in force is valid until ${notAfter.toISOString()}`;
}

function describeError({ code, message, hint }: CertificateError): string {
  return `${code}: ${message}${hint === "" ? "" : ` (${hint})`}`;
}
