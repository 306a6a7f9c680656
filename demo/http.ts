import { systemClock } from "../common/runtime/clock.ts";
import { MeshError } from "../common/runtime/errors.ts";

const POLL_MS = 50;

/** With its cause: of a refused connection fetch itself says only "fetch failed". */
function reasonOf(error: unknown): string {
  const { message, cause } = MeshError.from(error);
  const deeper = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return deeper instanceof Error && deeper.message !== message ? `${message}: ${deeper.message}` : message;
}

/** Polls `url` until it answers with success. Rejects when `signal` is aborted, with what it heard last. */
export async function untilOk(url: string, what: string, signal: AbortSignal): Promise<void> {
  for (let last = "no answer yet"; ;) {
    try {
      const response = await fetch(url, { signal });
      const text = await response.text();
      if (response.ok) return;
      last = `status ${response.status} ${text.trim()}`;
    } catch (error) {
      if (!signal.aborted) last = reasonOf(error);
    }
    await systemClock.sleep(POLL_MS, signal).catch(() => {
      throw new MeshError("unavailable", `${what} is not ready: ${last}`, { cause: signal.reason });
    });
  }
}
