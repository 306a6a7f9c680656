import { MeshError } from "../common/runtime/errors.ts";
import { EXIT } from "../common/runtime/process.ts";
import { checkAll } from "./checks.ts";
import type { DemoConfig } from "./config.ts";
import { converge } from "./converge.ts";
import { failureDocument, report, successDocument } from "./report.ts";
import { prepare, type Setting } from "./setting.ts";
import { shortfall } from "./shortfall.ts";
import { followStatus } from "./status.ts";
import { describeVault } from "./vault.ts";
import { viewOf } from "./view.ts";
import { watchEdits } from "./watch.ts";

/**
 * Runs the demo until `signal` is aborted, or with `once` until it has converged. Throws when it does not converge in
 * time, or when a program ends that should not. Nothing is left in any case.
 */
export async function runDemo(config: DemoConfig, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  await using setting = await prepare(config);
  const { output, workspace, vault } = setting;
  output.line(`Vault: ${describeVault(vault)}`);
  output.line(`work directory: ${workspace.work}`);
  output.line(
    `keys and state: ${workspace.secrets} (${workspace.inMemory ? "in memory" : "no memory file system here"})\n`,
  );
  const running = AbortSignal.any([signal, stop.signal, setting.programs.failed]);
  const background = Promise.all([
    followStatus(setting.server.admin, setting.status, running),
    ...setting.sites.map(({ cluster }) => cluster.tokens.run(running).catch(() => undefined)),
  ]);
  try {
    await convergeInTime(setting, running);
    if (!config.once) await watchEdits(setting, running);
    // A program that failed is why the watch ended; Ctrl-C is not a fault.
    if (!signal.aborted) running.throwIfAborted();
  } catch (error) {
    // Whoever stopped it knows why it did not converge; a script must not take it for converged.
    if (signal.aborted) process.exitCode = EXIT.failed;
    else output.document(failureDocument(setting, error));
    throw error;
  } finally {
    if (!config.once) output.line("\nstopping everything and removing all files");
    stop.abort();
    await background;
  }
}

async function convergeInTime(setting: Setting, running: AbortSignal): Promise<void> {
  const { config, progress, output } = setting;
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), config.timeoutMs);
  try {
    const rootPem = await converge(setting, AbortSignal.any([running, timeout.signal]));
    const view = setting.status.value && viewOf(setting.status.value);
    if (!view) throw new MeshError("internal", "converged without a status");
    const issued = setting.sites.map(({ cluster }) => ({
      cluster: cluster.name,
      directory: cluster.directories.cacerts,
    }));
    const checks = await checkAll(issued, rootPem);
    progress.reached("checked");
    report(setting, view, checks);
    const failed = checks.filter(({ passed }) => !passed);
    if (failed.length > 0)
      throw new MeshError("ca_unsound", `checks failed: ${failed.map(({ name }) => name).join(", ")}`);
    output.document(successDocument(setting, view, checks));
  } catch (error) {
    setting.programs.failed.throwIfAborted();
    throw timeout.signal.aborted && !running.aborted ? shortfall(setting, error) : error;
  } finally {
    clearTimeout(timer);
  }
}
