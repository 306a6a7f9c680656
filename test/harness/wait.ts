import { setTimeout as delay } from "node:timers/promises";
import { MeshError } from "../../common/runtime/errors.ts";

export interface WaitOptions {
  /** Default 60 s: generous, because a test machine may be busy building. */
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Polls `probe` until it gives a value other than undefined or false, and returns that. A probe that throws counts as
 * not yet; its last error is the cause of the `deadline_exceeded` when time is up. For what lies in other processes:
 * inside one process await the event itself.
 */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false>,
  { timeoutMs = 60_000, intervalMs = 50, signal }: WaitOptions = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (let cause: unknown; ;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      cause = error;
    }
    signal?.throwIfAborted();
    if (performance.now() > deadline) {
      throw new MeshError("deadline_exceeded", `${what}: not within ${timeoutMs} ms`, { cause });
    }
    await delay(intervalMs, undefined, signal ? { signal } : {});
  }
}
