import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { VERSION } from "../../common/runtime/version.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { Helm } from "../harness/helm.ts";
import { eventually } from "../harness/wait.ts";
import { ensureTools } from "../tools/build.ts";
import type { Cluster } from "./cluster.ts";
import { REFERENCES } from "./images/foreign.ts";
import { installIstio, installPlainIstio } from "./istio.ts";
import { istiodPods, type Pod } from "./judge.ts";

/** The ways in which `deploy/istio` brings the istiod-agent beside an istiod that is there. */
export type Patch = "istiod-patch.yaml" | "istiod-patch-native.yaml";

/** Patches istiod by kubectl, as README.md there says, and waits for nothing. */
export async function patchIstiod(cluster: Cluster, file: Patch = "istiod-patch.yaml"): Promise<void> {
  // Not by /dev/stdin as people do: a test's pipe is a socket, which cannot be opened by name.
  const args = ["patch", "deployment", "istiod", "--namespace", "istio-system", "--patch", await shipped(file)];
  await cluster.kubectl(args);
}

/** The same by istioctl. */
export type Operator = "istio-operator.yaml" | "istio-operator-native.yaml";

/** Runs `istioctl install` with our operator file. Resolves when istiod is ready, so only where it can become so. */
export async function installIstioWithAgent(cluster: Cluster, file: Operator = "istio-operator.yaml"): Promise<void> {
  await installIstio(cluster, await shipped(file));
}

/** An istiod without anything of ours: whoever has patched one owns what it has added, and istioctl would leave it. */
export async function plainIstiod(cluster: Cluster): Promise<void> {
  await cluster.kubectl(["delete", "deployment", "istiod", "--namespace", "istio-system", "--ignore-not-found"]);
  await installPlainIstio(cluster);
}

/** As ISTIO_FLAGS, for the chart. */
const CHART_FLAGS: readonly string[] = [
  `image=${REFERENCES.pilot}`,
  "global.hub=docker.io/istio",
  `global.tag=${REFERENCES.pilot.split(":")[1] ?? ""}`,
  "telemetry.enabled=false",
  "env.PILOT_ENABLE_METADATA_EXCHANGE=false",
  "env.PILOT_ENABLE_ALPN_FILTER=false",
].flatMap((setting) => ["--set", setting]);

/** Applies what Istio's own chart makes of our values, on what is there already; waits for nothing. */
export async function applyIstiodChart(cluster: Cluster): Promise<void> {
  const tools = await ensureTools(["helm", "istio-files"]);
  const chart = join(tools["istio-files"], "manifests/charts/istio-control/istio-discovery");
  await using folder = await temporaryFolder();
  const helm = new Helm(tools.helm, folder);
  const args = ["template", "istiod", chart, "--namespace", "istio-system", ...CHART_FLAGS];
  await cluster.apply(await helm.run(args, await shipped("istiod-values.yaml")));
}

/** A file of `deploy/istio` for the images built here, whose istiod-agent logs at level debug. */
export async function shipped(file: string): Promise<string> {
  const text = await readFile(join(import.meta.dirname, "../../deploy/istio", file), "utf8");
  return text
    .replaceAll("$MGMT_PLANE_VERSION", VERSION)
    .replaceAll(/( +)- name: PILOT_CERT_PROVIDER/g, "$1- { name: MESH_RELAY_LOG_LEVEL, value: debug }\n$&");
}

/** True for a pod whose init container of ours runs: istiod has not been started. */
export const isHeldBack = ({ status }: Pod): boolean =>
  (status.initContainerStatuses ?? []).some(({ name, state }) => name === "istiod-agent-init" && "running" in state) &&
  !(status.containerStatuses ?? []).some(({ state }) => "running" in state);

/** Lets istiod have so many replicas; waits for nothing. */
export async function scaleIstiod(cluster: Cluster, replicas: number): Promise<void> {
  await cluster.kubectl(["scale", "deployment", "istiod", "--namespace", "istio-system", `--replicas=${replicas}`]);
}

/** Waits until istiod has rolled out, and returns its pods: so many, each of so many containers that are ready. */
export async function untilIstiodReady(cluster: Cluster, count = 1, containers = 2): Promise<Pod[]> {
  await cluster.untilRolledOut("istio-system", "deploy/istiod", 240_000);
  const isServing = ({ status: { containerStatuses = [] } }: Pod): boolean =>
    containerStatuses.length === containers && containerStatuses.every(({ ready }) => ready);
  return eventually(`${count} istiods of ${cluster.name}`, async () => {
    const pods = await istiodPods(cluster);
    return pods.length === count && pods.every(isServing) && pods;
  });
}
