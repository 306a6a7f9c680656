/** Writes of one object: a burst is fine, a lasting exchange with somebody who wants it otherwise is not. */
const BURST = 20;
const REFILL_MS = 2_000;

/** How often an object may be written: at most BURST at once, then one per REFILL_MS. */
export class WriteBudget {
  #tokens = BURST;
  #filledAtMs: number | undefined;

  /** Takes one write; 0 when it may be done now, else the milliseconds to wait before asking again. */
  take(nowMs: number): number {
    const sinceMs = nowMs - (this.#filledAtMs ?? nowMs);
    this.#tokens = Math.min(BURST, this.#tokens + sinceMs / REFILL_MS);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return Math.ceil((1 - this.#tokens) * REFILL_MS);
    this.#tokens -= 1;
    return 0;
  }
}
