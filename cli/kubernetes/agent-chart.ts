import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Cluster } from "./cluster.ts";

/** Name of the agent's release and Deployment. */
export const AGENT = "enterprise-agent";

/** What the chart of the agent is installed with. */
export interface AgentRelease {
  readonly cluster: string;
  readonly relayServerAddress: string;
  readonly chart: string;
  /** File with further values. */
  readonly values?: string | undefined;
}

/** Arguments of helm. What is set here wins over the values file: it is what was registered. */
export function helmArguments({ namespace, kubeconfig, context }: Cluster, release: AgentRelease): string[] {
  return [
    ...["upgrade", "--install", AGENT, release.chart, "--namespace", namespace],
    ...["--kubeconfig", kubeconfig],
    ...(context === undefined ? [] : ["--kube-context", context]),
    ...(release.values === undefined ? [] : ["--values", release.values]),
    ...["--set-string", `relay.cluster=${release.cluster}`],
    ...["--set-string", `relay.serverAddress=${release.relayServerAddress}`],
  ];
}

/** The command for a person, in a shell. */
export const helmCommand = (cluster: Cluster, release: AgentRelease): string =>
  ["helm", ...helmArguments(cluster, release).map(quoted)].join(" ");

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

/** Runs the helm of the PATH. Throws `failed_precondition` with what it said. */
export async function runHelm(cluster: Cluster, release: AgentRelease, signal: AbortSignal): Promise<void> {
  const child = spawn("helm", helmArguments(cluster, release), { stdio: ["ignore", "ignore", "pipe"], signal });
  const [[code], said] = await Promise.all([
    once(child, "close").catch((thrown: unknown) => {
      signal.throwIfAborted();
      throw new MeshError("failed_precondition", `helm cannot be run: ${MeshError.from(thrown).message}`, {
        hint: `put helm on the PATH, or run it elsewhere: ${helmCommand(cluster, release)}`,
      });
    }) as Promise<[number | null]>,
    text(child.stderr),
  ]);
  if (code === 0) return;
  throw new MeshError("failed_precondition", `helm ended with ${code ?? "a signal"}: ${said.trim()}`, {
    hint: `the cluster is registered; mend it and run: ${helmCommand(cluster, release)}`,
  });
}
