import { setTimeout as delay } from "node:timers/promises";

/** Time as a parameter. Everything that reads or waits for time takes one; tests hand in a clock that they move. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. Keeps the process alive. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Node caps a timer at 2^31-1 ms and fires a longer one at once, so longer waits are made of several. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    for (let left = Math.max(0, ms); ; left -= MAX_TIMER_MS) {
      try {
        await delay(Math.min(left, MAX_TIMER_MS), undefined, signal ? { signal } : {});
      } catch (error) {
        signal?.throwIfAborted();
        throw error;
      }
      if (left <= MAX_TIMER_MS) return;
    }
  },
};

/** Chance as a parameter: a number in [0, 1). */
export type Random = () => number;
