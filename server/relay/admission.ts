import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { RateLimit } from "../identity/rate-limit.ts";

/** Share of the places that one cluster can take at once, and of those that it gets back per second. */
const CLUSTER_BURST = 0.2;
const CLUSTER_RATE = 0.01;

/**
 * A token bucket over the sessions that begin: who finds it empty is told when to come back. Each cluster has a smaller
 * one before it, so that an agent that reconnects in a loop takes no place from the others.
 */
export class Admission {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #perCluster: RateLimit;
  #tokens: number;
  #filledAtMs: number;

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#tokens = perSecond;
    this.#filledAtMs = clock.now();
    this.#perCluster = new RateLimit({
      clock,
      perSecond: Math.max(1, perSecond * CLUSTER_RATE),
      burst: Math.max(5, perSecond * CLUSTER_BURST),
      what: "sessions of one cluster",
    });
  }

  /** Takes a place for `cluster`, or throws `resource_exhausted` with the wait after which there is one. */
  take(cluster: string): void {
    this.#perCluster.take(cluster);
    const now = this.#clock.now();
    const passedMs = Math.max(0, now - this.#filledAtMs);
    this.#tokens = Math.min(this.#perSecond, this.#tokens + (passedMs / 1000) * this.#perSecond);
    this.#filledAtMs = now;
    // Below zero stands the queue of those who were told to come back: each gets a later time than the one before.
    this.#tokens -= 1;
    if (this.#tokens >= 0) return;
    const retryAfterMs = Math.ceil((-this.#tokens / this.#perSecond) * 1000);
    this.#tokens = Math.max(this.#tokens, -this.#perSecond * 30);
    throw new MeshError("resource_exhausted", `more than ${this.#perSecond} agents connect per second`, {
      retryAfterMs,
    });
  }
}
