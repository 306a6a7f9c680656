import { MeshError } from "../common/runtime/errors.ts";
import type { Check } from "./checks.ts";
import { commandsFor } from "./commands.ts";
import type { Setting } from "./setting.ts";
import { checkLines, clusterTable, notes, processTable } from "./tables.ts";
import { describeVault } from "./vault.ts";
import type { MeshView } from "./view.ts";

/** Prints what was reached; and while the demo stays, how to look at it. */
export function report(setting: Setting, view: MeshView, checks: readonly Check[]): void {
  const { output, programs, sites, server, workspace, config } = setting;
  output.section("Certificates", [clusterTable(view, output.stream), "", ...notes(view)]);
  output.section("Checked by other means than the code that issued", checkLines(checks));
  output.section("Processes", [processTable(programs.list(), output.stream)]);
  if (config.once) return;
  const commands = commandsFor(
    sites.map(({ cluster }) => cluster),
    server,
  );
  output.section("Look for yourself", commands);
  output.line(`edit ${workspace.source}/virtual-mesh.yaml and watch: another caPath, or no csrPath,`);
  output.line("or below shared: a line intermediateCertOptions: { ttlDays: 20 }");
  output.line("Ctrl-C ends the demo\n");
}

/** What `--json` prints of a demo that has converged. */
export function successDocument(setting: Setting, view: MeshView, checks: readonly Check[]): object {
  const { sites, server } = setting;
  const commands = commandsFor(
    sites.map(({ cluster }) => cluster),
    server,
  );
  const { clusters, ...virtualMesh } = view;
  return { converged: true, ...commonDocument(setting), virtualMesh, clusters, checks, commands };
}

/** What `--json` prints of one that has failed. */
export function failureDocument(setting: Setting, thrown: unknown): object {
  const { code, message, hint } = MeshError.from(thrown);
  return { converged: false, ...commonDocument(setting), error: { code, message, hint } };
}

function commonDocument(setting: Setting): object {
  const { progress, programs, workspace, vault } = setting;
  const { work: workDirectory, secrets: secretDirectory } = workspace;
  return {
    vault: describeVault(vault),
    workDirectory,
    secretDirectory,
    steps: progress.marks,
    processes: [{ name: "demo", pid: process.pid, listeners: {} }, ...programs.list()],
  };
}
