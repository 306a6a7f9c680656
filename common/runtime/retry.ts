import type { Clock, Random } from "./clock.ts";
import { MeshError } from "./errors.ts";

export interface BackoffOptions {
  /** Bound of the first wait, in milliseconds. */
  readonly baseMs: number;
  /** Bound of every wait, in milliseconds. */
  readonly capMs: number;
  readonly random?: Random;
}

/** Full-jitter exponential backoff: each wait is uniform in [0, min(cap, base * 2^attempt)). */
export class Backoff {
  #attempt = 0;
  readonly #options: BackoffOptions;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** Milliseconds to wait before the next attempt, never less than `atLeastMs`; `capMs` stands for that of the options. */
  next(atLeastMs = 0, capMs = this.#options.capMs): number {
    const { baseMs, random = Math.random } = this.#options;
    const bound = Math.min(capMs, baseMs * 2 ** Math.min(this.#attempt++, 30));
    return Math.max(atLeastMs, random() * bound);
  }

  reset(): void {
    this.#attempt = 0;
  }
}

export interface RetryOptions extends BackoffOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Called before each wait, so that nobody wonders why nothing happens. */
  readonly onRetry?: (error: MeshError, waitMs: number) => void;
}

/** Repeats `work` until it succeeds or throws an error that is not retriable. */
export async function retry<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  const backoff = new Backoff(options);
  for (;;) {
    try {
      return await work();
    } catch (thrown) {
      options.signal.throwIfAborted();
      const error = MeshError.from(thrown);
      if (!error.retriable) throw error;
      const waitMs = backoff.next(error.retryAfterMs);
      options.onRetry?.(error, waitMs);
      await options.clock.sleep(waitMs, options.signal);
    }
  }
}
