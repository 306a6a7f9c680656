import { defineOptions } from "../common/runtime/config.ts";
import { type AnyCommand, command } from "../common/runtime/process.ts";
import { type Cell, formatTable } from "../common/runtime/table.ts";
import {
  AdminServiceService,
  type ClusterSession,
  GetIntentResponse,
  type IntentResource,
  ListSessionsResponse,
} from "../proto/gen/admin/v1/admin.ts";
import { CALL_TIMEOUT_MS, connectionOptions, withServer } from "./connection.ts";
import { formatTime, nameSchema, outputOptions, print, printJson } from "./output.ts";

const SESSION_TITLES = [
  "CLUSTER",
  "IDENTITY",
  "CONNECTED",
  "EPOCH",
  "PEER",
  "AGENT",
  "SINCE",
  "LAST SEEN",
  "OFFSET",
  "IN SYNC",
];

const sessions = command({
  name: "relay sessions",
  description: "show the sessions of all clusters",
  options: { ...connectionOptions, ...outputOptions },
  oneShot: true,
  run: async (config, { signal }) => {
    const response = await withServer(config, signal, (dialer) =>
      dialer.unary(AdminServiceService.listSessions, {}, { signal, timeoutMs: CALL_TIMEOUT_MS }),
    );
    if (config.json) printJson(ListSessionsResponse.toJSON(response));
    else print(formatTable(SESSION_TITLES, response.sessions.map(sessionRow)));
  },
});

function sessionRow(session: ClusterSession): Cell[] {
  const { cluster, identity, connected, outOfSync } = session;
  if (!connected) return [cluster, identity, { text: "no", style: "yellow" }];
  return [
    cluster,
    identity,
    { text: "yes", style: "green" },
    String(session.epoch),
    session.peer,
    session.agentVersion,
    formatTime(session.connectedAt),
    formatTime(session.lastSeenAt),
    offsetCell(session.clockOffsetMs),
    outOfSync.length === 0 ? "yes" : { text: outOfSync.join("; "), style: "yellow" },
  ];
}

/** Beyond a minute certificates are taken for expired, or not valid yet, at the wrong time. */
function offsetCell(offsetMs: bigint): Cell {
  const text = `${offsetMs}ms`;
  return offsetMs > 60_000n || offsetMs < -60_000n ? { text, style: "yellow" } : text;
}

const intent = command({
  name: "intent",
  description: "show what a cluster shall hold, and what its agent has stored",
  options: {
    ...defineOptions({
      name: { path: "cluster", schema: nameSchema, help: "name of the cluster", argument: "cluster" },
    }),
    ...connectionOptions,
    ...outputOptions,
  },
  operands: ["name"],
  oneShot: true,
  run: async (config, { signal }) => {
    const response = await withServer(config, signal, (dialer) =>
      dialer.unary(AdminServiceService.getIntent, { cluster: config.name }, { signal, timeoutMs: CALL_TIMEOUT_MS }),
    );
    if (config.json) printJson(GetIntentResponse.toJSON(response));
    else
      print(
        formatTable(
          ["ISSUED CERTIFICATE", "VIRTUAL MESH", "CA", "VERSION", "STORED"],
          response.resources.map(intentRow),
        ),
      );
  },
});

function intentRow({ certificate, version, acknowledged, rejected }: IntentResource): Cell[] {
  const { name, virtualMesh, certificateAuthority: authority } = certificate ?? {};
  const stored: Cell = acknowledged ? { text: "yes", style: "green" } : { text: rejected || "no", style: "yellow" };
  return [
    formatName(name),
    formatName(virtualMesh),
    authority ? `vault ${authority.value.server} ${authority.value.caPath}` : "none",
    version.toString("hex").slice(0, 12),
    stored,
  ];
}

/** "name.namespace", as the reference writes it. */
export const formatName = (name: { name: string; namespace: string } | undefined): string =>
  name ? `${name.name}.${name.namespace}` : "-";

export const relayCommands: readonly AnyCommand[] = [sessions, intent];
