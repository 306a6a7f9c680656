import { MeshError } from "../common/runtime/errors.ts";
import type { Dialer } from "../common/session/client.ts";
import { AdminServiceService, type WatchStatusResponse } from "../proto/gen/admin/v1/admin.ts";
import { CALL_TIMEOUT_MS } from "./connection.ts";
import type { ClusterAnswers } from "./explain.ts";
import { findSession } from "./sessions.ts";
import { watchStatus } from "./watch-status.ts";

/** Asks the server all that it knows of one cluster. Throws `not_found` for one of which nothing is known. */
export async function askOf(cluster: string, dialer: Dialer, signal: AbortSignal): Promise<ClusterAnswers> {
  const call = { signal, timeoutMs: CALL_TIMEOUT_MS };
  const [session, intent, status] = await Promise.all([
    findSession(dialer, cluster, signal),
    dialer.unary(AdminServiceService.getIntent, { cluster }, call),
    statusNow(cluster, dialer, signal),
  ]);
  return { cluster, session, intent, status };
}

/** What is in force first: the server sends it before any change. */
async function statusNow(cluster: string, dialer: Dialer, signal: AbortSignal): Promise<WatchStatusResponse> {
  const stop = new AbortController();
  const until = AbortSignal.any([signal, stop.signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]);
  try {
    for await (const response of watchStatus(dialer, { cluster }, until)) return response;
  } finally {
    stop.abort();
  }
  throw new MeshError("unavailable", "the server ended the call without an answer");
}
