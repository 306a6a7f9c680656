import { systemClock } from "../common/runtime/clock.ts";
import { MeshError } from "../common/runtime/errors.ts";

const POLL_MS = 50;

/** Polls `url` until it answers with success. Rejects when `signal` is aborted, with what it heard last. */
export async function untilOk(url: string, what: string, signal: AbortSignal): Promise<void> {
  for (let last = "no answer yet"; ;) {
    try {
      const response = await fetch(url, { signal });
      const text = await response.text();
      if (response.ok) return;
      last = `status ${response.status} ${text.trim()}`;
    } catch (error) {
      if (!signal.aborted) last = MeshError.from(error).message;
    }
    await systemClock.sleep(POLL_MS, signal).catch(() => {
      throw new MeshError("unavailable", `${what} is not ready: ${last}`, { cause: signal.reason });
    });
  }
}
