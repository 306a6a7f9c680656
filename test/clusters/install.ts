import { dirname, join } from "node:path";
import { writeFile } from "node:fs/promises";
import { runCommand, type CommandOptions } from "../harness/command.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { chartFolder, CRDS_FOLDER, Helm, type Chart } from "../harness/helm.ts";
import { eventually } from "../harness/wait.ts";
import { ensureTools } from "../tools/build.ts";
import type { Cluster } from "./cluster.ts";

/** Namespace of everything of ours. */
export const NAMESPACE = "gloo-mesh";

/** Ports of the management cluster's node at which agents of other clusters reach the server. */
const NODE_PORTS = { grpc: 31_900, enrollment: 31_901 };

const MESHCTL = join(import.meta.dirname, "../../dist/meshctl.js");

/** Applies our CRDs and waits until the API server serves them. */
export async function applyCrds(cluster: Cluster): Promise<void> {
  await cluster.kubectl(["apply", "--server-side", "--filename", CRDS_FOLDER]);
  const crds = ["--filename", CRDS_FOLDER, "--timeout=60s"];
  await cluster.kubectl(["wait", "--for=condition=Established", ...crds], { timeoutMs: 65_000 });
}

/** Runs the real helm on a cluster; `values` is what a values file would hold. */
export async function helm(cluster: Cluster, args: readonly string[], values?: object): Promise<string> {
  const tools = await ensureTools(["helm"]);
  await using folder = await temporaryFolder();
  const run = new Helm(tools.helm, folder, cluster.kubeconfig);
  return await run.run([...args, "--namespace", NAMESPACE], values && JSON.stringify(values));
}

/** Installs or upgrades a release of ours and waits for its pods. */
export async function release(cluster: Cluster, chart: Chart, values: object): Promise<void> {
  await helm(cluster, ["upgrade", "--install", chart, chartFolder(chart), "--create-namespace"], values);
  await cluster.untilRolledOut(NAMESPACE, `deploy/${chart}`, 180_000);
}

/** The server, with debug log, where other clusters reach it; `values` are merged over by helm's own rules. */
export function installServer(cluster: Cluster, values: object = {}): Promise<void> {
  const own = { enterpriseNetworking: { serviceType: "NodePort", nodePorts: NODE_PORTS }, verbose: true };
  return release(cluster, "enterprise-networking", { ...own, ...values });
}

/** What the agent of a cluster is told: by name where the server lives in its cluster, else by its node's ports. */
export function agentValues(cluster: Cluster, server: Cluster): object {
  const at = (port: number): string => `${server.nodeAddress}:${port}`;
  const relay =
    cluster.name === server.name
      ? { serverAddress: "enterprise-networking.gloo-mesh:9900" }
      : { serverAddress: at(NODE_PORTS.grpc), enrollmentAddress: at(NODE_PORTS.enrollment) };
  return {
    relay: { cluster: cluster.name, ...relay },
    istiodSidecar: { createRoleBinding: true },
    verbose: true,
  };
}

/** Both clusters of a registration; `kubeconfig` has both as contexts. */
export interface Registration {
  readonly kubeconfig: string;
  readonly server: Cluster;
  readonly cluster: Cluster;
}

/** Registers a cluster by `meshctl cluster register`, which installs the agent by helm and waits until it is connected. */
export async function register({ kubeconfig, server, cluster }: Registration, values: object = {}): Promise<string> {
  await using folder = await temporaryFolder();
  const own = agentValues(cluster, server) as { relay: { serverAddress: string } };
  await writeFile(folder.file("values.json"), JSON.stringify({ ...own, ...values }));
  const tools = await ensureTools(["helm"]);
  const args = [
    ...["cluster", "register", cluster.name, "--mgmt-kubeconfig", kubeconfig, "--mgmt-context", server.name],
    ...["--remote-context", cluster.name, "--relay-server-address", own.relay.serverAddress, "--timeout", "3m"],
    ...["--agent-chart", chartFolder("enterprise-agent"), "--agent-values", folder.file("values.json")],
  ];
  const env = { PATH: `${dirname(tools.helm)}:${process.env["PATH"] ?? ""}`, HELM_CACHE_HOME: folder.path };
  return await runCommand(process.execPath, [MESHCTL, ...args], { env, timeoutMs: 200_000 });
}

/** Runs meshctl against the server of a cluster. */
export function meshctl(server: Cluster, args: readonly string[], options?: CommandOptions): Promise<string> {
  const where = ["--kubeconfig", server.kubeconfig, "--kubecontext", server.name];
  return runCommand(process.execPath, [MESHCTL, ...args, ...where], options);
}

/** Takes away all of ours but what stands in istiod: releases, records, definitions. */
export async function removeOurs(cluster: Cluster): Promise<void> {
  const slow = { timeoutMs: 180_000 };
  for (const chart of ["enterprise-agent", "enterprise-networking"]) {
    await helm(cluster, ["uninstall", chart, "--ignore-not-found"]);
  }
  await cluster.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"], slow);
  await cluster.kubectl(["delete", "--filename", CRDS_FOLDER, "--ignore-not-found"], slow);
}

/** Waits until an object exists. */
export async function untilThere(cluster: Cluster, kind: string, name: string, namespace = NAMESPACE): Promise<void> {
  const get = ["get", kind, name, "--namespace", namespace, "--output", "name"];
  await eventually(`${kind} ${name} of ${cluster.name}`, () => cluster.kubectl(get), {
    timeoutMs: 120_000,
    intervalMs: 500,
  });
}
