import type { ObjectMeta } from "../api/meta.ts";

/** The spec of a coordination.k8s.io Lease, as far as it is read and written. */
export interface LeaseSpec {
  /** "" or absent: nobody holds it. */
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  /** RFC 3339 with microseconds, by the holder's clock. Nobody compares it with his own. */
  readonly acquireTime?: string;
  readonly renewTime?: string;
  /** Grows with each new holder, so it can fence what a former one still does. */
  readonly leaseTransitions?: number;
}

/** A Lease object, as an API server gives it. */
export interface Lease {
  readonly metadata: ObjectMeta;
  readonly spec: LeaseSpec;
}

/** A lease as it was read, and since when this very version is known, by the reader's own clock. */
export interface Observation {
  readonly lease: Lease;
  readonly sinceMs: number;
}

/** Carries `sinceMs` over while the lease stands still: clocks of different machines are never compared. */
export function observe(before: Observation | undefined, lease: Lease, nowMs: number): Observation {
  const isSame = before?.lease.metadata.resourceVersion === lease.metadata.resourceVersion;
  return { lease, sinceMs: before && isSame ? before.sinceMs : nowMs };
}

/** What a candidate does next: writes this spec, or leaves the lease to its holder. */
export type Move = { readonly move: "write"; readonly spec: LeaseSpec } | { readonly move: "wait" };

export interface Candidate {
  readonly identity: string;
  readonly durationMs: number;
}

/**
 * Whether the candidate may take or keep the lease. Somebody else's is free only when he gave it up, or when it stood
 * still for as long as he asked for, seen by the candidate's own clock.
 */
export function decide(observed: Observation | undefined, { identity, durationMs }: Candidate, nowMs: number): Move {
  const now = microTime(nowMs);
  const term = { holderIdentity: identity, leaseDurationSeconds: Math.ceil(durationMs / 1000), renewTime: now };
  if (!observed) return { move: "write", spec: { ...term, acquireTime: now, leaseTransitions: 0 } };
  const { lease, sinceMs } = observed;
  const { holderIdentity: holder = "", leaseDurationSeconds = 0, acquireTime = now, leaseTransitions = 0 } = lease.spec;
  if (holder === identity) return { move: "write", spec: { ...term, acquireTime, leaseTransitions } };
  const isFree = holder === "" || nowMs - sinceMs >= leaseDurationSeconds * 1000;
  if (!isFree) return { move: "wait" };
  return { move: "write", spec: { ...term, acquireTime: now, leaseTransitions: leaseTransitions + 1 } };
}

/** What a holder writes that stops in good order: the next candidate need not wait. */
export function released(spec: LeaseSpec, nowMs: number): LeaseSpec {
  return { ...spec, holderIdentity: "", leaseDurationSeconds: 1, renewTime: microTime(nowMs) };
}

/** metav1.MicroTime insists on six digits. */
const microTime = (ms: number): string => new Date(ms).toISOString().replace("Z", "000Z");
