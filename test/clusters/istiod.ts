import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { VERSION } from "../../common/runtime/version.ts";
import { eventually } from "../harness/wait.ts";
import type { Cluster } from "./cluster.ts";
import { installIstio } from "./istio.ts";
import { istiodPods, type Pod } from "./judge.ts";

/** The ways in which `deploy/istio` brings the istiod-agent beside an istiod that is there. */
export type Patch = "istiod-patch.yaml" | "istiod-patch-native.yaml";

/** Patches istiod by kubectl, as README.md there says, and waits for nothing. */
export async function patchIstiod(cluster: Cluster, file: Patch = "istiod-patch.yaml"): Promise<void> {
  const args = ["patch", "deployment", "istiod", "--namespace", "istio-system", "--patch-file", "/dev/stdin"];
  await cluster.kubectl(args, { stdin: await shipped(file) });
}

/** Runs `istioctl install` with our operator file. Resolves when istiod is ready, so only where it can become so. */
export async function installIstioWithAgent(cluster: Cluster): Promise<void> {
  await installIstio(cluster, await shipped("istio-operator.yaml"));
}

/** A file of `deploy/istio` for the images built here, whose istiod-agent logs at level debug. */
async function shipped(file: string): Promise<string> {
  const text = await readFile(join(import.meta.dirname, "../../deploy/istio", file), "utf8");
  return text
    .replaceAll("$MGMT_PLANE_VERSION", VERSION)
    .replaceAll(/( +)- name: PILOT_CERT_PROVIDER/g, "$1- { name: MESH_RELAY_LOG_LEVEL, value: debug }\n$&");
}

/** True for a pod whose init container of ours runs: istiod has not been started. */
export const isHeldBack = ({ status }: Pod): boolean =>
  (status.initContainerStatuses ?? []).some(({ name, state }) => name === "istiod-agent-init" && "running" in state) &&
  !(status.containerStatuses ?? []).some(({ state }) => "running" in state);

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
