import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";

/** A token bucket over the sessions that begin: who finds it empty is told when to come back. */
export class Admission {
  readonly #clock: Clock;
  readonly #perSecond: number;
  #tokens: number;
  #filledAtMs: number;

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#tokens = perSecond;
    this.#filledAtMs = clock.now();
  }

  /** Takes a place, or throws `resource_exhausted` with the wait after which there is one. */
  take(): void {
    const now = this.#clock.now();
    this.#tokens = Math.min(this.#perSecond, this.#tokens + ((now - this.#filledAtMs) / 1000) * this.#perSecond);
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
