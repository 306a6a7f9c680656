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
import { messageToJson } from "./message-json.ts";
import { nameSchema, outputOptions, print, printJson } from "./output.ts";
import { askOf } from "./cluster-answers.ts";
import { differences } from "./diff.ts";
import { formatDifferences } from "./diff-text.ts";
import { explain, explanationToJson, only } from "./explain.ts";
import { formatExplanation } from "./explain-text.ts";
import { formatName } from "./names.ts";
import { formatSessions } from "./session-table.ts";
import { listSessions } from "./sessions.ts";

const sessions = command({
  name: "relay sessions",
  description: "show the sessions of all clusters",
  options: { ...connectionOptions, ...outputOptions },
  oneShot: true,
  run: async (config, { signal }) => {
    const all = await withServer(config, signal, (dialer) => listSessions(dialer, signal));
    if (config.json) printJson(messageToJson(ListSessionsResponse, { sessions: all }));
    else print(formatSessions(all));
  },
});

const clusterOptions = defineOptions({
  name: { path: "cluster", schema: nameSchema, help: "name of the cluster", argument: "cluster" },
});

const explainCommand = command({
  name: "relay explain",
  description: "say where the changes of a cluster are, and why",
  options: {
    ...clusterOptions,
    ...defineOptions({
      certificate: {
        path: "certificate",
        schema: nameSchema.optional(),
        help: "name of an IssuedCertificate or a Mesh, with or without its namespace",
        argument: "certificate",
      },
    }),
    ...connectionOptions,
    ...outputOptions,
  },
  operands: ["name", "certificate"],
  oneShot: true,
  run: async (config, { signal }) => {
    const answers = await withServer(config, signal, (dialer) => askOf(config.name, dialer, signal));
    const explanation = only(explain(answers), config.certificate);
    if (config.json) printJson(explanationToJson(explanation));
    else print(formatExplanation(explanation));
  },
});

const diff = command({
  name: "relay diff",
  description: "show field by field what a cluster holds and what it shall hold",
  options: { ...clusterOptions, ...connectionOptions, ...outputOptions },
  operands: ["name"],
  oneShot: true,
  run: async (config, { signal }) => {
    const { session, intent } = await withServer(config, signal, (dialer) => askOf(config.name, dialer, signal));
    const certificates = differences(intent, session);
    const connected = session?.connected ?? false;
    if (config.json) printJson({ cluster: config.name, connected, certificates });
    else print(formatDifferences(config.name, certificates));
  },
});

const intent = command({
  name: "intent",
  description: "show what a cluster shall hold, and what its agent has stored",
  options: { ...clusterOptions, ...connectionOptions, ...outputOptions },
  operands: ["name"],
  oneShot: true,
  run: async (config, { signal }) => {
    const response = await withServer(config, signal, (dialer) =>
      dialer.unary(AdminServiceService.getIntent, { cluster: config.name }, { signal, timeoutMs: CALL_TIMEOUT_MS }),
    );
    if (config.json) printJson(messageToJson(GetIntentResponse, response));
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

export const relayCommands: readonly AnyCommand[] = [sessions, explainCommand, diff, intent];
