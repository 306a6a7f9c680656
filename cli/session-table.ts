import { type Cell, formatTable } from "../common/runtime/table.ts";
import type { ClusterSession } from "../proto/gen/admin/v1/admin.ts";
import { formatTime } from "./output.ts";

interface Column {
  readonly title: string;
  readonly cell: (session: ClusterSession) => Cell;
}

const COLUMNS: readonly Column[] = [
  { title: "CLUSTER", cell: ({ cluster }) => cluster },
  { title: "IDENTITY", cell: ({ identity }) => identity },
  {
    title: "CONNECTED",
    cell: ({ connected }) => (connected ? { text: "yes", style: "green" } : { text: "no", style: "yellow" }),
  },
];

const REPLICA: Column = { title: "REPLICA", cell: ({ replica }) => replica || "-" };

/** These say something of a session that is open. */
const LIVE_COLUMNS: readonly Column[] = [
  { title: "EPOCH", cell: ({ epoch }) => String(epoch) },
  { title: "PEER", cell: ({ peer }) => peer },
  { title: "AGENT", cell: ({ agentVersion }) => agentVersion },
  { title: "SINCE", cell: ({ connectedAt }) => formatTime(connectedAt) },
  { title: "LAST SEEN", cell: ({ lastSeenAt }) => formatTime(lastSeenAt) },
  { title: "OFFSET", cell: offsetOf },
  { title: "PUSHES", cell: pushesOf },
  { title: "REFUSED", cell: ({ types }) => String(types.reduce((sum, { parked }) => sum + parked, 0)) },
];

const IN_SYNC = "IN SYNC";

/** One line for each cluster; where there are several replicas of the server, with the one that holds the session. */
export function formatSessions(sessions: readonly ClusterSession[]): string {
  const replicas = sessions.some(({ replica }) => replica !== "") ? [REPLICA] : [];
  const [always, live] = [[...COLUMNS, ...replicas], LIVE_COLUMNS];
  const titles = [...always, ...live].map(({ title }) => title);
  const rows = sessions.map((session) => [
    ...always.map(({ cell }) => cell(session)),
    ...live.map(({ cell }) => (session.connected ? cell(session) : "")),
    syncOf(session),
  ]);
  return formatTable([...titles, IN_SYNC], rows);
}

/** Beyond a minute certificates are taken for expired, or not valid yet, at the wrong time. */
function offsetOf({ clockOffsetMs: ms }: ClusterSession): Cell {
  return ms > 60_000n || ms < -60_000n ? { text: `${ms}ms`, style: "yellow" } : `${ms}ms`;
}

/** Answered of sent. Another replica's are not known here. */
function pushesOf({ types }: ClusterSession): string {
  const [sent, answered] = (["pushesSent", "pushesAnswered"] as const).map((count) =>
    types.reduce((sum, type) => sum + type[count], 0n),
  );
  return sent === 0n ? "-" : `${answered}/${sent}`;
}

function syncOf({ identity, connected, outOfSync, endedAt, endReason }: ClusterSession): Cell {
  if (connected) return outOfSync.length === 0 ? "yes" : { text: outOfSync.join("; "), style: "yellow" };
  // A session that ended is of the identity before.
  if (identity === "REGISTERED") return "";
  return endedAt ? `ended ${formatTime(endedAt)}: ${endReason}` : "";
}
