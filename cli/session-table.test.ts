import assert from "node:assert/strict";
import { test } from "node:test";
import { ClusterSession } from "../proto/gen/admin/v1/admin.ts";
import { formatSessions } from "./session-table.ts";

test("meshctl relay sessions - a session that ended is told of a cluster that may come back, not of one that is registered anew", () => {
  const ended = { cluster: "cluster-1", endedAt: new Date(0), endReason: "the agent left" };
  const tableOf = (identity: string): string => formatSessions([ClusterSession.fromPartial({ ...ended, identity })]);
  assert.match(tableOf("ENROLLED"), /ended 1970-01-01T00:00:00Z: the agent left$/);
  assert.match(tableOf("REVOKED"), /the agent left$/);
  assert.doesNotMatch(tableOf("REGISTERED"), /ended/);
});
