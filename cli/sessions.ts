import type { Dialer } from "../common/session/client.ts";
import { AdminServiceService, type ClusterSession, ListSessionsRequest } from "../proto/gen/admin/v1/admin.ts";
import { CALL_TIMEOUT_MS } from "./connection.ts";

/** Ten thousand clusters do not fit into one message. */
const PAGE = 1_000;

/** The sessions of all clusters, or of `cluster` alone, in order of name. */
export async function listSessions(
  dialer: Pick<Dialer, "unary">,
  signal: AbortSignal,
  cluster = "",
): Promise<ClusterSession[]> {
  const all: ClusterSession[] = [];
  for (;;) {
    const after = all.at(-1)?.cluster ?? "";
    const request = ListSessionsRequest.create({ cluster, after, limit: PAGE });
    const call = { signal, timeoutMs: CALL_TIMEOUT_MS };
    const { sessions } = await dialer.unary(AdminServiceService.listSessions, request, call);
    // An older server knows no pages: it says everything each time.
    const found = sessions.filter((each) => each.cluster > after && (cluster === "" || each.cluster === cluster));
    all.push(...found);
    if (found.length < PAGE || sessions.length > PAGE) return all;
  }
}

/** The session of one cluster; undefined for one that is not registered. */
export async function findSession(
  dialer: Pick<Dialer, "unary">,
  cluster: string,
  signal: AbortSignal,
): Promise<ClusterSession | undefined> {
  return (await listSessions(dialer, signal, cluster))[0];
}
