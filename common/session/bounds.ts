import type {
  CertificateError,
  IssuedCertificateStatus,
  ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";

/** What a report may fill with text, so that no peer can make the status of a cluster grow without bound. */
const MAX_TEXT = 1024;
const MAX_WARNINGS = 16;
const MAX_UNMANAGED = 100;
const SHA256_BYTES = 32;

/** What a peer says is its version gets so many characters, in logs and in answers to people. */
export const MAX_VERSION = 64;
const MAX_NAMES = 16;

/** A peer's time, where it is one: the wire has room for years that no clock, no JSON and no encoder takes. */
export const soundTime = (time: Date | undefined): Date | undefined =>
  time !== undefined && Number.isFinite(time.getTime()) ? time : undefined;

/** What an istiod-agent says of itself, cut to size. */
export function boundReplica(told: ReplicaStatus): ReplicaStatus {
  return {
    ...told,
    podName: clip(told.podName),
    podNamespace: clip(told.podNamespace),
    podUid: clip(told.podUid),
    error: told.error && boundError(told.error),
    serial: clip(told.serial),
    subjectKeyId: clip(told.subjectKeyId),
    rootSha256: told.rootSha256.subarray(0, SHA256_BYTES),
    issuer: clip(told.issuer),
    notBefore: soundTime(told.notBefore),
    notAfter: soundTime(told.notAfter),
    renewAt: soundTime(told.renewAt),
    evidence: clip(told.evidence),
    warnings: told.warnings.slice(0, MAX_WARNINGS).map((warning) => clip(warning)),
    vaultServer: clip(told.vaultServer),
    orderVersion: told.orderVersion.subarray(0, SHA256_BYTES),
    directory: clip(told.directory),
  };
}

/** What a peer says that it can do: of too many the first, each cut to size. */
export const boundNames = (names: readonly string[]): string[] =>
  names.slice(0, MAX_NAMES).map((name) => clip(name, MAX_VERSION));

/** What an agent says of one certificate, cut to size. */
export function boundStatus(told: IssuedCertificateStatus): IssuedCertificateStatus {
  return {
    ...told,
    observedVersion: told.observedVersion.subarray(0, SHA256_BYTES),
    replicas: told.replicas.map(boundReplica),
    error: told.error && boundError(told.error),
    podBounce: told.podBounce && {
      ...told.podBounce,
      message: clip(told.podBounce.message),
      unmanaged: told.podBounce.unmanaged.slice(0, MAX_UNMANAGED).map((pod) => clip(pod)),
    },
  };
}

const boundError = ({ code, message, hint }: CertificateError): CertificateError => ({
  code: clip(code),
  message: clip(message),
  hint: clip(hint),
});

/** A peer's text of at most `max` characters; one that was cut ends in "…". */
export const clip = (text: string, max = MAX_TEXT): string => (text.length > max ? `${text.slice(0, max - 1)}…` : text);
