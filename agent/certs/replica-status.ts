import {
  CertificateState,
  type IssuedCertificateStatus,
  type ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import { boundReplica } from "../../common/session/bounds.ts";
import type { HeldCertificate } from "./orders.ts";
import type { PodIdentity } from "./token-reviewer.ts";

/** A pod's status before it has sent one. */
export function firstStatus(pod: PodIdentity): ReplicaStatus {
  return {
    podName: pod.podName,
    podNamespace: pod.podNamespace,
    podUid: pod.podUid,
    state: CertificateState.CERTIFICATE_STATE_PENDING,
    error: undefined,
    serial: "",
    subjectKeyId: "",
    rootSha256: Buffer.alloc(0),
    issuer: "",
    notBefore: undefined,
    notAfter: undefined,
    renewAt: undefined,
    evidence: "",
    warnings: [],
    vaultServer: "",
    connected: true,
    orderVersion: Buffer.alloc(0),
    directory: "",
  };
}

/** What a pod says of itself, with its identity from the token and its texts cut to size. */
export function acceptStatus(told: ReplicaStatus, { podName, podNamespace, podUid }: PodIdentity): ReplicaStatus {
  return { ...boundReplica(told), podName, podNamespace, podUid, connected: true };
}

/** The status of one certificate from those of its pods; pods without an order have one without a name. */
export function summarize(
  { name, version, detached }: Pick<HeldCertificate, "version" | "detached"> & Pick<IssuedCertificateStatus, "name">,
  replicas: readonly ReplicaStatus[],
): IssuedCertificateStatus {
  const state = leastAdvanced(replicas);
  return {
    name,
    observedVersion: version,
    state,
    replicas: [...replicas],
    detached,
    error: undefined,
    podBounce: undefined,
  };
}

/**
 * What a pod's last words are worth for the order in force: a success that was told of an earlier order is one under way,
 * until the pod has taken the new order and says what it means for its certificate.
 */
export function judgeByOrder(status: ReplicaStatus, version: Buffer): ReplicaStatus {
  const isDone =
    status.state === CertificateState.CERTIFICATE_STATE_ISSUED ||
    status.state === CertificateState.CERTIFICATE_STATE_FINISHED;
  if (!isDone || status.orderVersion.equals(version)) return status;
  return { ...status, state: CertificateState.CERTIFICATE_STATE_REQUESTED };
}

/** From least to most advanced. */
const ORDER: readonly CertificateState[] = [
  CertificateState.CERTIFICATE_STATE_FAILED,
  CertificateState.CERTIFICATE_STATE_UNSPECIFIED,
  CertificateState.CERTIFICATE_STATE_PENDING,
  CertificateState.CERTIFICATE_STATE_REQUESTED,
  CertificateState.CERTIFICATE_STATE_ISSUED,
  CertificateState.CERTIFICATE_STATE_FINISHED,
];

/**
 * Pods that are linked speak for the certificate: one that went away counts only while none is, because a pod that was
 * replaced never says goodbye.
 */
export function speakingOf(replicas: readonly ReplicaStatus[]): readonly ReplicaStatus[] {
  const connected = replicas.filter((replica) => replica.connected);
  return connected.length > 0 ? connected : replicas;
}

/** The least advanced state of the pods that speak; PENDING for no pod. */
export function leastAdvanced(replicas: readonly ReplicaStatus[]): CertificateState {
  const speaking = speakingOf(replicas);
  if (speaking.length === 0) return CertificateState.CERTIFICATE_STATE_PENDING;
  return ORDER.find((state) => speaking.some((replica) => replica.state === state)) ?? ORDER[0] ?? 0;
}
