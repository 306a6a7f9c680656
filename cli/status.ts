import * as z from "zod";
import { systemClock } from "../common/runtime/clock.ts";
import { defineOptions } from "../common/runtime/config.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { type AnyCommand, command } from "../common/runtime/process.ts";
import { booleanSwitch } from "../common/runtime/settings.ts";
import { type Cell, formatTable } from "../common/runtime/table.ts";
import { type ClusterCertificate, type VirtualMeshStatus, WatchStatusResponse } from "../proto/gen/admin/v1/admin.ts";
import {
  CertificateState,
  certificateStateToJSON,
  type ReplicaStatus,
} from "../proto/gen/certificates/v1/certificates.ts";
import { CALL_TIMEOUT_MS, connectionOptions, withServer } from "./connection.ts";
import { messageToJson } from "./message-json.ts";
import { formatTime, outputOptions, print, printJson } from "./output.ts";
import { formatName } from "./names.ts";
import { watchStatus } from "./watch-status.ts";

const statusOptions = defineOptions({
  ...connectionOptions,
  ...outputOptions,
  watch: {
    path: "watch",
    schema: booleanSwitch.default(false),
    help: "print each change with its time, until stopped",
  },
});

const status = command({
  name: "status",
  description: "show the virtual meshes and the certificate of every istiod",
  options: statusOptions,
  oneShot: true,
  run: (config, { signal }) =>
    withServer(config, signal, async (dialer) => {
      const until = config.watch ? signal : AbortSignal.any([signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]);
      for await (const response of watchStatus(dialer, { cluster: "" }, until)) {
        if (config.json) printJson(messageToJson(WatchStatusResponse, response));
        else print(config.watch ? formatChange(response, systemClock.now()) : formatStatus(response));
        if (!config.watch) return;
      }
      if (!config.watch) throw new MeshError("unavailable", "the server ended the call without an answer");
    }),
});

/** One of several answers in a row: when it was heard, and what it says. */
export function formatChange(response: Parameters<typeof formatStatus>[0], nowMs: number): string {
  return `${formatTime(new Date(nowMs))}\n\n${formatStatus(response)}\n`;
}

/** Two tables, the virtual meshes and one line for each istiod, and then what is wrong with the sources. */
export function formatStatus({
  virtualMeshes,
  sourceProblems,
}: Pick<WatchStatusResponse, "virtualMeshes" | "sourceProblems">): string {
  const told = new Set(virtualMeshes.flatMap(({ status: fields }) => shownStatus.parse(fields ?? {}).errors));
  // What a VirtualMesh is refused for stands beside its name already.
  const others = sourceProblems.filter((problem) => !told.has(problem));
  const replicas = virtualMeshes.flatMap(({ clusters }) => clusters.flatMap(clusterRows));
  const tables = [
    virtualMeshes.length === 0
      ? "no virtual mesh"
      : formatTable(["VIRTUAL MESH", "STATE", "READY", "PROBLEM"], virtualMeshes.map(virtualMeshRow)),
    ...(replicas.length > 0 ? [formatTable(REPLICA_TITLES, replicas)] : []),
    ...(others.length > 0
      ? [
          formatTable(
            ["REFUSED; THE LAST GOOD FORM STAYS IN FORCE"],
            others.map((each) => [each]),
          ),
        ]
      : []),
  ];
  return tables.join("\n\n");
}

/** What is shown of the resource's status, which is the reference's and may be of a newer version. */
const shownStatus = z.object({
  state: z.string().catch("PENDING"),
  errors: z.array(z.string()).catch([]),
  conditions: z.array(z.object({ type: z.string(), status: z.string(), message: z.string().catch("") })).catch([]),
});

function virtualMeshRow({ name, status: fields }: VirtualMeshStatus): Cell[] {
  const { state, errors, conditions } = shownStatus.parse(fields ?? {});
  const conditionOf = (wanted: string) => conditions.find(({ type }) => type === wanted);
  const [ready, accepted] = [conditionOf("Ready"), conditionOf("Accepted")];
  return [
    formatName(name),
    { text: state, style: state === "ACCEPTED" ? "green" : "yellow" },
    ready?.status ?? "Unknown",
    // The first says what stays in force, too.
    refusalIn(accepted) || errors.join("; ") || refusalIn(ready),
  ];
}

const refusalIn = (condition: { readonly status: string; readonly message: string } | undefined): string =>
  condition === undefined || condition.status === "True" ? "" : condition.message;

const REPLICA_TITLES = [
  "CLUSTER",
  "MESH",
  "CONNECTED",
  "APPLIED",
  "POD",
  "STATE",
  "SERIAL",
  "ROOT",
  "VALID UNTIL",
  "RENEWS AT",
  "PROBLEM",
];

function clusterRows({ cluster, mesh, connected, applied, certificate }: ClusterCertificate): Cell[][] {
  const head = [cluster, formatName(mesh), yesOrNo(connected), yesOrNo(applied)];
  const problem = certificate?.error?.message ?? "";
  const replicas = certificate?.replicas ?? [];
  if (replicas.length === 0) return [[...head, "-", "no istiod has asked", "", "", "", "", problem]];
  return replicas.map((replica) => [...head, ...replicaCells(replica)]);
}

function replicaCells(replica: ReplicaStatus): Cell[] {
  const { podName, podNamespace, state, serial, rootSha256 } = replica;
  const name = certificateStateToJSON(state).replace("CERTIFICATE_STATE_", "");
  return [
    formatName({ name: podName, namespace: podNamespace }),
    { text: name, style: STATE_STYLES[state] ?? "yellow" },
    serial.length > 23 ? `${serial.slice(0, 23)}…` : serial,
    rootSha256.toString("hex").slice(0, 12),
    formatTime(replica.notAfter),
    formatTime(replica.renewAt),
    problemOf(replica),
  ];
}

function problemOf({ state, error, evidence, connected }: ReplicaStatus): string {
  if (error) return `${error.code}: ${error.message}`;
  if (!connected) return "the istiod-agent is away: nobody renews this certificate";
  return state === CertificateState.CERTIFICATE_STATE_FINISHED ? "" : evidence;
}

const STATE_STYLES: Partial<Record<CertificateState, "green" | "red">> = {
  [CertificateState.CERTIFICATE_STATE_FINISHED]: "green",
  [CertificateState.CERTIFICATE_STATE_FAILED]: "red",
};

const yesOrNo = (value: boolean): Cell => (value ? "yes" : { text: "no", style: "yellow" });

export const statusCommands: readonly AnyCommand[] = [status];
