import type { Latest } from "../common/runtime/latest.ts";
import { Backoff } from "../common/runtime/retry.ts";
import { systemClock } from "../common/runtime/clock.ts";
import { Dialer } from "../common/session/client.ts";
import { AdminServiceService, ListSessionsRequest, type WatchStatusResponse } from "../proto/gen/admin/v1/admin.ts";

const RETRY = { baseMs: 100, capMs: 1_000 };
const CALL_TIMEOUT_MS = 2_000;
const POLL_MS = 100;

function dialAdmin(address: string): Dialer {
  return new Dialer({ address, peer: `management server ${address}` });
}

/** Puts the status stream of the server into `into`, also over restarts of the server, until `signal` is aborted. */
export async function followStatus(
  address: string,
  into: Latest<WatchStatusResponse>,
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff(RETRY);
  const dialer = dialAdmin(address);
  try {
    while (!signal.aborted) {
      try {
        const responses = dialer.serverStream(
          AdminServiceService.watchStatus,
          { virtualMesh: undefined, cluster: "", inParts: false },
          signal,
        );
        for await (const status of responses) {
          backoff.reset();
          into.set(status);
        }
      } catch {
        // A server that is away is not news here: who reads the status goes on with the last one.
      }
      await systemClock.sleep(backoff.next(), signal).catch(() => undefined);
    }
  } finally {
    dialer.close();
  }
}

/** Calls `onConnected` once for each of `clusters` whose agent has a session; resolves after the last. */
export async function awaitSessions(
  address: string,
  { clusters, onConnected }: { clusters: readonly string[]; onConnected: (cluster: string) => void },
  signal: AbortSignal,
): Promise<void> {
  const dialer = dialAdmin(address);
  const left = new Set(clusters);
  try {
    while (left.size > 0) {
      const call = { signal, timeoutMs: CALL_TIMEOUT_MS };
      // A busy machine may answer late; the caller's signal says when it is too late.
      const answer = await dialer
        .unary(AdminServiceService.listSessions, ListSessionsRequest.create(), call)
        .catch(() => undefined);
      signal.throwIfAborted();
      for (const { cluster, connected } of answer?.sessions ?? []) {
        if (connected && left.delete(cluster)) onConnected(cluster);
      }
      if (left.size > 0) await systemClock.sleep(POLL_MS, signal);
    }
  } finally {
    dialer.close();
  }
}
