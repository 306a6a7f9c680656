import { createHash } from "node:crypto";

export interface PlanInput {
  /** Validity of the certificate returned, in milliseconds since the epoch: never what was asked for. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Share of the life that is left when a renewal is due at the latest, in (0, 1). */
  readonly graceRatio: number;
  /** Names the replica; equal keys get equal plans, others spread. */
  readonly spreadKey: string;
}

/** Moments in milliseconds since the epoch. */
export interface RenewalPlan {
  /** When to obtain the next certificate. */
  readonly renewAtMs: number;
  /** When a renewal that has not succeeded is an alarm: a sixth of the life is left. */
  readonly alarmAtMs: number;
}

/** Replicas of one age renew over a fifth of their half-life, so that Vault never sees a fleet at once. */
const SPREAD = 0.1;
const ALARM_LEFT = 1 / 6;

/**
 * Plans a renewal at half of the life, ±10 % by the hash of `spreadKey`, and no later than `graceRatio` of the life
 * before its end. `renewAtMs` lies strictly between start and end.
 */
export function planRenewal({ notBeforeMs, notAfterMs, graceRatio, spreadKey }: PlanInput): RenewalPlan {
  const lifeMs = notAfterMs - notBeforeMs;
  const middle = Math.min(0.5, (1 - graceRatio) / (1 + SPREAD));
  const fraction = middle * (1 - SPREAD + 2 * SPREAD * hashToUnit(spreadKey));
  return { renewAtMs: notBeforeMs + lifeMs * fraction, alarmAtMs: notAfterMs - lifeMs * ALARM_LEFT };
}

/** Seconds until the certificate ends: how long this mesh lives on without Vault. Never below 0. */
export function runwaySeconds(notAfterMs: number, nowMs: number): number {
  return Math.max(0, (notAfterMs - nowMs) / 1000);
}

function hashToUnit(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32BE(0) / 2 ** 32;
}
