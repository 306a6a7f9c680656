import type {
  ClusterCertificate,
  ClusterIdentityStatus,
  ClusterSessionStatus,
  KubernetesCluster,
} from "../../common/api/discovery.ts";
import type { CertificateRecord, ClusterRecord, TokenRecord } from "../identity/records.ts";
import type { SessionRecord } from "../identity/session-store.ts";

type Previous = NonNullable<ClusterRecord["previous"]>;

/** The record in the object's status. A cluster that is registered and nothing more has none there. */
export function recordOf({ metadata: { name }, status }: KubernetesCluster): ClusterRecord {
  const { state = "REGISTERED", current, next, previous, token } = status?.identity ?? {};
  const [inUse, issued, replaced, made] = [
    current && certificateOf(current),
    next && certificateOf(next),
    previous && previousOf(previous),
    token && tokenOf(token),
  ];
  return {
    name,
    state,
    ...(inUse && { current: inUse }),
    ...(issued && { next: issued }),
    ...(replaced && { previous: replaced }),
    ...(made && { token: made }),
  };
}

/** The same as it is stored. */
export function identityOf({ state, current, next, previous, token }: ClusterRecord): ClusterIdentityStatus {
  return {
    state,
    ...(current && { current: storedCertificate(current) }),
    ...(next && { next: storedCertificate(next) }),
    ...(previous && { previous: { ...storedCertificate(previous), refusedFrom: iso(previous.refusedFromMs) } }),
    ...(token && { token: storedToken(token) }),
  };
}

/** What is incomplete counts for nothing: it can let nobody in. */
function certificateOf(stored: ClusterCertificate): CertificateRecord | undefined {
  const { serial, fingerprint, keyHash, notAfter, trust } = stored;
  const notAfterMs = Date.parse(notAfter ?? "");
  if (!serial || !fingerprint || !keyHash || Number.isNaN(notAfterMs)) return undefined;
  return { serial, fingerprint, keyHash, notAfterMs, ...(trust !== undefined && { trust }) };
}

function previousOf(stored: NonNullable<ClusterIdentityStatus["previous"]>): Previous | undefined {
  const certificate = certificateOf(stored);
  const refusedFromMs = Date.parse(stored.refusedFrom ?? "");
  return certificate && !Number.isNaN(refusedFromMs) ? { ...certificate, refusedFromMs } : undefined;
}

function tokenOf(stored: NonNullable<ClusterIdentityStatus["token"]>): TokenRecord | undefined {
  const { id, secretHash, expiresAt, failures = 0, usedAt, usedByKeyHash: keyHash } = stored;
  const expiresAtMs = Date.parse(expiresAt ?? "");
  if (!id || !secretHash || Number.isNaN(expiresAtMs)) return undefined;
  const token = { id, secretHash, expiresAtMs, failures };
  if (usedAt === undefined && keyHash === undefined) return token;
  // Half a use is a use: nobody may take the token a second time because a field is missing.
  return { ...token, used: { atMs: Date.parse(usedAt ?? "") || 0, keyHash: keyHash ?? "" } };
}

const storedCertificate = (record: CertificateRecord): ClusterCertificate => ({
  serial: record.serial,
  fingerprint: record.fingerprint,
  keyHash: record.keyHash,
  notAfter: iso(record.notAfterMs),
  ...(record.trust !== undefined && { trust: record.trust }),
});

function storedToken({ id, secretHash, expiresAtMs, failures, used }: TokenRecord) {
  const token = { id, secretHash, expiresAt: iso(expiresAtMs), failures };
  return used ? { ...token, usedAt: iso(used.atMs), usedByKeyHash: used.keyHash } : token;
}

/** The session in the object's status, as it was written. */
export function sessionOf({ metadata, status }: KubernetesCluster): SessionRecord | undefined {
  const { epoch, sessionId, replica, connected = false, connectedAt = "", ...rest } = status?.session ?? {};
  if (epoch === undefined || sessionId === undefined || replica === undefined) return undefined;
  const { peer = "", agentVersion = "", clockOffsetMs = 0 } = rest;
  const connectedAtMs = Date.parse(connectedAt) || 0;
  const { name: cluster } = metadata;
  const facts = { cluster, sessionId, replica, connected, connectedAtMs, peer, agentVersion, clockOffsetMs };
  const ended = connected ? undefined : endOf(rest);
  return { ...facts, epoch: BigInt(epoch), ...(ended && { ended }) };
}

function endOf({ endedAt = "", endReason = "" }: ClusterSessionStatus): SessionRecord["ended"] {
  const atMs = Date.parse(endedAt);
  return Number.isNaN(atMs) ? undefined : { atMs, reason: endReason };
}

/** A session that begins, as it is stored. */
export const storedSession = (session: Omit<SessionRecord, "connected" | "clockOffsetMs">): ClusterSessionStatus => ({
  epoch: Number(session.epoch),
  sessionId: session.sessionId,
  replica: session.replica,
  connected: true,
  peer: session.peer,
  agentVersion: session.agentVersion,
  connectedAt: iso(session.connectedAtMs),
});

const iso = (ms: number): string => new Date(ms).toISOString();
