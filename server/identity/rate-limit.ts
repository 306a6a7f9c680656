import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";

export interface RateLimitOptions {
  readonly clock: Clock;
  readonly perSecond: number;
  /** How many may come at once after a rest. */
  readonly burst: number;
  /** What is limited, for the error: "enrolments from one address". */
  readonly what: string;
}

/** Keys that are remembered; beyond it the one unused for longest is forgotten, so memory stays flat under attack. */
const MAX_KEYS = 10_000;

interface Bucket {
  readonly tokens: number;
  readonly atMs: number;
}

/** A token bucket per key. */
export class RateLimit {
  readonly #options: RateLimitOptions;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: RateLimitOptions) {
    this.#options = options;
  }

  /** Counts one use of `key`. Throws `resource_exhausted`, with the time to wait, when it comes too soon. */
  take(key: string): void {
    const { clock, perSecond, burst, what } = this.#options;
    const nowMs = clock.now();
    const last = this.#buckets.get(key) ?? { tokens: burst, atMs: nowMs };
    const tokens = Math.min(burst, last.tokens + (Math.max(0, nowMs - last.atMs) / 1000) * perSecond);
    const allowed = tokens >= 1;
    this.#remember(key, { tokens: allowed ? tokens - 1 : tokens, atMs: nowMs });
    if (allowed) return;
    throw new MeshError("resource_exhausted", `too many ${what}: at most ${burst} at once, then ${rate(perSecond)}`, {
      retryAfterMs: ((1 - tokens) / perSecond) * 1000,
    });
  }

  #remember(key: string, bucket: Bucket): void {
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size <= MAX_KEYS) return;
    for (const oldest of this.#buckets.keys()) {
      this.#buckets.delete(oldest);
      return;
    }
  }
}

function rate(perSecond: number): string {
  return perSecond >= 1 ? `${perSecond} a second` : `${Math.round(perSecond * 3600)} an hour`;
}
