import { type ErrorCode, MeshError } from "../../common/runtime/errors.ts";
import type { CertificateRecord, ClusterRecord, TokenRecord } from "./records.ts";
import { type JoinToken, secretMatches } from "./token.ts";

/** How long the certificate before the current one is still accepted: sessions that cross a renewal. */
export const GRACE_MS = 5 * 60_000;
/** How long the same token with the same key is answered again, so that a lost reply costs nothing. */
export const REPEAT_MS = 10 * 60_000;
/** Wrong secrets after which a token is dead. */
export const MAX_TOKEN_FAILURES = 10;

/** What became of a token that was shown; only the log learns why it was refused. */
export type TokenVerdict =
  | { readonly kind: "accepted"; readonly token: TokenRecord }
  | { readonly kind: "wrong"; readonly token: TokenRecord }
  | { readonly kind: "refused"; readonly reason: "expired" | "locked" | "used" | "used with another key" };

/** Judges a token against its record, for a request with the key `keyHash`. */
export function judgeToken(record: TokenRecord, token: JoinToken, keyHash: string, nowMs: number): TokenVerdict {
  if (record.failures >= MAX_TOKEN_FAILURES) return { kind: "refused", reason: "locked" };
  if (!secretMatches(token.secret, record.secretHash)) {
    return { kind: "wrong", token: { ...record, failures: record.failures + 1 } };
  }
  const { used } = record;
  if (used && used.keyHash !== keyHash) return { kind: "refused", reason: "used with another key" };
  if (used && nowMs - used.atMs > REPEAT_MS) return { kind: "refused", reason: "used" };
  if (!used && nowMs >= record.expiresAtMs) return { kind: "refused", reason: "expired" };
  return { kind: "accepted", token: used ? record : { ...record, used: { atMs: nowMs, keyHash } } };
}

/** The record with a new token. Throws `conflict` for a cluster that has an identity and was not said to need another. */
export function withToken(
  record: ClusterRecord | undefined,
  { name, token, renew }: { name: string; token: TokenRecord; renew: boolean },
): ClusterRecord {
  if (record?.state === "ENROLLED") {
    if (renew) return { ...record, token };
    throw new MeshError("conflict", `cluster ${name} has an identity already`, {
      hint: "use --renew-token when its agent lost its state directory or its certificate expired",
    });
  }
  return { name, state: "REGISTERED", token };
}

/** The record of a cluster that must not come back with any certificate or token it ever got. */
export const revoked = ({ name }: ClusterRecord): ClusterRecord => ({ name, state: "REVOKED" });

/** A certificate that was shown. */
export interface ShownCertificate {
  readonly cluster: string;
  readonly fingerprint: string;
}

/**
 * The record after a certificate was shown: the first use of `next` makes it current. Throws `failed_precondition`
 * without a record, `permission_denied` for a revoked cluster, `unauthenticated` for a certificate that is not, or not
 * any more, the cluster's.
 */
export function afterUse(
  record: ClusterRecord | undefined,
  { cluster, fingerprint }: ShownCertificate,
  nowMs: number,
): ClusterRecord {
  if (!record || record.state === "REGISTERED") {
    throw refusal("failed_precondition", cluster, `cluster ${cluster} is not enrolled`);
  }
  if (record.state === "REVOKED") throw refusal("permission_denied", cluster, `cluster ${cluster} is revoked`);
  const { current, next, previous, ...rest } = record;
  if (current?.fingerprint === fingerprint) return record;
  if (next?.fingerprint === fingerprint) {
    return {
      ...rest,
      current: next,
      ...(current ? { previous: { ...current, refusedFromMs: nowMs + GRACE_MS } } : {}),
    };
  }
  if (previous?.fingerprint === fingerprint && nowMs < previous.refusedFromMs) return record;
  const fault = previous?.fingerprint === fingerprint ? "was replaced by a newer one" : "is not known to this server";
  throw refusal("unauthenticated", cluster, `the certificate of cluster ${cluster} ${fault}`);
}

/** Whether this certificate may be used, and its use changes nothing. */
export function isInUse({ state, current, previous }: ClusterRecord, shown: ShownCertificate, nowMs: number): boolean {
  if (state !== "ENROLLED") return false;
  const { fingerprint } = shown;
  if (current?.fingerprint === fingerprint) return true;
  return previous?.fingerprint === fingerprint && nowMs < previous.refusedFromMs;
}

/** The record of a cluster whose certificates somebody else makes. Throws for one that may not be served. */
export function registered(record: ClusterRecord | undefined, cluster: string): ClusterRecord {
  const hint = `register it: kubectl apply a KubernetesCluster named ${cluster}`;
  if (!record)
    throw new MeshError("failed_precondition", `cluster ${cluster} is not registered`, { hint, retryAfterMs: 10_000 });
  if (record.state === "REVOKED")
    throw new MeshError("permission_denied", `cluster ${cluster} is revoked`, { retryAfterMs: 10_000 });
  return record;
}

/** Nothing helps before a person acts, so the agent is asked to try rarely. */
function refusal(code: ErrorCode, cluster: string, message: string): MeshError {
  const hint = `give its agent a new token: meshctl cluster register ${cluster} --renew-token`;
  return new MeshError(code, message, { hint, retryAfterMs: 10_000 });
}

/** The record of a cluster that was sent `certificate`. */
export function withNext(record: ClusterRecord, certificate: CertificateRecord): ClusterRecord {
  return { ...record, state: "ENROLLED", next: certificate };
}
