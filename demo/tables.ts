import { type Cell, formatTable } from "../common/runtime/table.ts";
import type { Check } from "./checks.ts";
import { describeFault } from "./log-lines.ts";
import type { ProcessView } from "./programs.ts";
import { type ClusterView, isIssued, type MeshView } from "./view.ts";

const SERIAL_CHARACTERS = 23;
const FINGERPRINT_CHARACTERS = 16;

const CLUSTER_TITLES = [
  "cluster",
  "mesh",
  "state",
  "issuer",
  "serial",
  "root fingerprint",
  "valid until",
  "renews at",
  "directory",
];

/** The table of certificates. Serial and fingerprint are cut: `--json` and openssl show them whole. */
export function clusterTable({ clusters }: MeshView, stream: NodeJS.WritableStream): string {
  return formatTable(CLUSTER_TITLES, clusters.map(clusterRow), stream);
}

function clusterRow(view: ClusterView): Cell[] {
  const { cluster, mesh, state, issuer, serial, rootSha256, notAfter, renewAt, directory } = view;
  return [
    cluster,
    mesh,
    { text: state, style: isIssued(view) ? "green" : state === "FAILED" ? "red" : "yellow" },
    issuer,
    cut(serial, SERIAL_CHARACTERS),
    cut(rootSha256, FINGERPRINT_CHARACTERS),
    shortTime(notAfter),
    shortTime(renewAt),
    directory,
  ];
}

const cut = (text: string, length: number): string => (text.length > length ? `${text.slice(0, length)}…` : text);
const shortTime = (iso: string): string => iso.replace(/\.\d+Z$/, "Z");

/** What is to be said below the table: what is refused and what is in force, faults and remarks. */
export function notes({ state, errors, generation, clusters }: MeshView): string[] {
  return [
    state === "INVALID"
      ? "virtual-mesh.yaml is refused; the last good intent stays in force:"
      : `virtual-mesh.yaml: ${state}, generation ${generation}`,
    ...errors.map((error) => `  ${error}`),
    ...clusters.flatMap(({ cluster, fault }) => (fault ? [`${cluster}: ${describeFault(fault)}`] : [])),
    ...(clusters.some((cluster) => cluster.state === "ISSUED")
      ? ["ISSUED: the files are complete. FINISHED: an istiod was seen to sign with them; the demo runs no istiod."]
      : []),
    ...new Set(clusters.flatMap(({ warnings }) => warnings)),
  ];
}

/** The table of processes. */
export function processTable(processes: readonly ProcessView[], stream: NodeJS.WritableStream): string {
  const rows = processes.map(({ name, pid, listeners }) => {
    return [
      name,
      String(pid),
      Object.entries(listeners)
        .map(([purpose, address]) => `${purpose} ${address}`)
        .join(", "),
    ];
  });
  return formatTable(["process", "pid", "listens on"], rows, stream);
}

/** One line for each check. */
export function checkLines(checks: readonly Check[]): string[] {
  return checks.map(({ name, passed, detail }) => `${passed ? "ok    " : "FAILED"}  ${name}: ${detail}`);
}
