import { defineOptions } from "../common/runtime/config.ts";
import { type AnyCommand, command } from "../common/runtime/process.ts";
import { type Cell, formatTable } from "../common/runtime/table.ts";
import {
  AdminServiceService,
  GetIntentResponse,
  type IntentResource,
  ListSessionsResponse,
} from "../proto/gen/admin/v1/admin.ts";
import { CALL_TIMEOUT_MS, connectionOptions, withServer } from "./connection.ts";
import { nameSchema, outputOptions, print, printJson } from "./output.ts";
import { formatSessions } from "./session-table.ts";
import { listSessions } from "./sessions.ts";

const sessions = command({
  name: "relay sessions",
  description: "show the sessions of all clusters",
  options: { ...connectionOptions, ...outputOptions },
  oneShot: true,
  run: async (config, { signal }) => {
    const all = await withServer(config, signal, (dialer) => listSessions(dialer, signal));
    if (config.json) printJson(ListSessionsResponse.toJSON({ sessions: all }));
    else print(formatSessions(all));
  },
});

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
