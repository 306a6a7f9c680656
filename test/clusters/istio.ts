import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { runCommand } from "../harness/command.ts";
import { ensureTools } from "../tools/build.ts";
import type { Cluster } from "./cluster.ts";
import { REFERENCES } from "./images/foreign.ts";

const OPERATOR = join(import.meta.dirname, "../../deploy/istio/istio-operator.yaml");

/** Port of each node that leads to port 15443 of the ingress gateway, as the guide has it. */
export const GATEWAY_NODE_PORT = 32_000;

/**
 * What `istioctl install` must be told beside the operator file: our images, and not to configure the extensions that
 * Istio's own Envoy has and the upstream one lacks; it would refuse its listeners.
 */
export const ISTIO_FLAGS: readonly string[] = [
  "hub=docker.io/istio",
  `tag=${REFERENCES.pilot.split(":")[1] ?? ""}`,
  `values.pilot.image=${REFERENCES.pilot}`,
  "values.telemetry.enabled=false",
  "values.pilot.env.PILOT_ENABLE_METADATA_EXCHANGE=false",
  "values.pilot.env.PILOT_ENABLE_ALPN_FILTER=false",
].flatMap((setting) => ["--set", setting]);

/** Pure: the guide's operator file without what is ours: istiod makes a root of its own. */
export function plainOperator(operatorYaml: string): string {
  const operator = parse(operatorYaml) as { spec: { components: { pilot?: object } } };
  delete operator.spec.components.pilot;
  return stringify(operator);
}

/** Istio with a gateway and without anything of ours. Resolves when istiod and the gateway are ready. */
export async function installPlainIstio(cluster: Cluster): Promise<void> {
  await installIstio(cluster, plainOperator(await readFile(OPERATOR, "utf8")));
}

/** Runs `istioctl install` with an operator file, on what is there or not; resolves when all of it is ready. */
export async function installIstio(cluster: Cluster, operatorYaml: string): Promise<void> {
  const { istioctl } = await ensureTools(["istioctl"]);
  const where = ["--kubeconfig", cluster.kubeconfig, "--context", cluster.name, "--readiness-timeout", "170s"];
  await runCommand(istioctl, ["manifest", "install", "-y", "-f", "-", ...where, ...ISTIO_FLAGS], {
    stdin: operatorYaml,
    timeoutMs: 180_000,
  });
}

/** Takes Istio away, its namespace and definitions too. */
export async function removeIstio(cluster: Cluster): Promise<void> {
  const { istioctl } = await ensureTools(["istioctl"]);
  const where = ["--kubeconfig", cluster.kubeconfig, "--context", cluster.name];
  await runCommand(istioctl, ["uninstall", "--purge", "-y", ...where], { timeoutMs: 120_000 });
  await cluster.kubectl(["delete", "namespace", "istio-system", "--ignore-not-found"], { timeoutMs: 120_000 });
}

/** True when istiod and the gateway are there and ready. */
export async function hasIstio(cluster: Cluster): Promise<boolean> {
  const wanted = ["deployment/istiod", "deployment/istio-ingressgateway"];
  const args = ["wait", "--for=condition=Available", ...wanted, "--namespace", "istio-system", "--timeout=0s"];
  return cluster.kubectl(args).then(
    () => true,
    () => false,
  );
}
