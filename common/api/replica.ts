import {
  CertificateState,
  type CertificateError,
  type ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import type { IssuedCertificateReplica, IssuedCertificateState } from "./certificates.ts";

const STATES = {
  PENDING: CertificateState.CERTIFICATE_STATE_PENDING,
  REQUESTED: CertificateState.CERTIFICATE_STATE_REQUESTED,
  ISSUED: CertificateState.CERTIFICATE_STATE_ISSUED,
  FINISHED: CertificateState.CERTIFICATE_STATE_FINISHED,
  FAILED: CertificateState.CERTIFICATE_STATE_FAILED,
} as const satisfies Record<IssuedCertificateState, CertificateState>;

/** The stage as resources write it; what no resource knows is PENDING. */
export function resourceState(state: CertificateState): IssuedCertificateState {
  const found = Object.entries(STATES).find(([, value]) => value === state);
  return (found?.[0] ?? "PENDING") as IssuedCertificateState;
}

/** The stage as the wire writes it; an absent one is PENDING. */
export const wireState = (state: IssuedCertificateState | undefined): CertificateState => STATES[state ?? "PENDING"];

/** One istiod pod's status as an entry of `status.replicas`. What is empty on the wire is left out. */
export function toReplica(status: ReplicaStatus): IssuedCertificateReplica {
  const texts = {
    podName: status.podName,
    podNamespace: status.podNamespace,
    serial: status.serial,
    subjectKeyId: status.subjectKeyId,
    rootSha256: status.rootSha256.toString("hex"),
    issuer: status.issuer,
    evidence: status.evidence,
    vaultServer: status.vaultServer,
    orderVersion: status.orderVersion.toString("hex"),
    directory: status.directory,
  };
  const times = { notBefore: status.notBefore, notAfter: status.notAfter, renewAt: status.renewAt };
  return {
    podUid: status.podUid,
    state: resourceState(status.state),
    connected: status.connected,
    ...Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== "")),
    ...Object.fromEntries(Object.entries(times).flatMap(([name, time]) => (time ? [[name, time.toISOString()]] : []))),
    ...(status.error && { error: { ...status.error } }),
    ...(status.warnings.length > 0 && { warnings: [...status.warnings] }),
  };
}

/** The entry as the wire carries it; `fromReplica(toReplica(status))` is `status`. */
export function fromReplica(entry: IssuedCertificateReplica): ReplicaStatus {
  const { podName = "", podNamespace = "", podUid, serial = "", subjectKeyId = "", issuer = "", evidence = "" } = entry;
  return {
    ...{ podName, podNamespace, podUid, serial, subjectKeyId, issuer, evidence },
    state: wireState(entry.state),
    error: entry.error && fromError(entry.error),
    rootSha256: Buffer.from(entry.rootSha256 ?? "", "hex"),
    notBefore: timeOf(entry.notBefore),
    notAfter: timeOf(entry.notAfter),
    renewAt: timeOf(entry.renewAt),
    warnings: [...(entry.warnings ?? [])],
    vaultServer: entry.vaultServer ?? "",
    connected: entry.connected ?? false,
    orderVersion: Buffer.from(entry.orderVersion ?? "", "hex"),
    directory: entry.directory ?? "",
  };
}

const fromError = ({
  code = "",
  message = "",
  hint = "",
}: NonNullable<IssuedCertificateReplica["error"]>): CertificateError => ({ code, message, hint });

/** Somebody may have edited the object by hand: what is no time is none. */
function timeOf(text: string | undefined): Date | undefined {
  const time = new Date(text ?? "");
  return Number.isNaN(time.getTime()) ? undefined : time;
}
