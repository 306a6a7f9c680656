import { hostname } from "node:os";
import * as z from "zod";
import { type ConfigOf, defineOptions } from "../runtime/config.ts";
import { booleanSwitch, dnsLabel } from "../runtime/settings.ts";

/** Settings of a program whose state lives in an API server. Loads no client: a program may live elsewhere too. */
export const kubernetesOptions = defineOptions({
  kubernetesInCluster: {
    path: "kubernetes.inCluster",
    help: "all state is in the API server of the cluster that this program runs in, which it reaches as its pod's account",
    schema: booleanSwitch.default(false),
  },
  kubernetesKubeconfig: {
    path: "kubernetes.kubeconfig",
    argument: "FILE",
    help: "all state is in the API server of this kubeconfig",
    schema: z.string().min(1).optional(),
  },
  kubernetesNamespace: {
    path: "kubernetes.namespace",
    argument: "NAMESPACE",
    env: "POD_NAMESPACE",
    help: "the namespace of that API server in which this program keeps its objects",
    schema: dnsLabel.default("gloo-mesh"),
  },
  replicaName: {
    path: "replica.name",
    argument: "NAME",
    env: "POD_NAME",
    help: "name of this replica, unlike that of any other; without it the host's name",
    schema: z
      .string()
      .regex(
        /^[a-z0-9]([-.a-z0-9]{0,198}[a-z0-9])?$/,
        "must be lower-case letters, digits, dashes and dots, at most 200",
      )
      .optional(),
  },
});

export type KubernetesConfig = ConfigOf<typeof kubernetesOptions>;

/** True when the configuration says that the state lives in an API server. */
export const isKubernetesMode = (
  config: Pick<KubernetesConfig, "kubernetesInCluster" | "kubernetesKubeconfig">,
): boolean => config.kubernetesInCluster || config.kubernetesKubeconfig !== undefined;

/** The file to give `KubeClient.open`: undefined is the pod's own cluster. */
export const kubeconfigOf = ({
  kubernetesInCluster,
  kubernetesKubeconfig,
}: Pick<KubernetesConfig, "kubernetesInCluster" | "kubernetesKubeconfig">): string | undefined =>
  kubernetesInCluster ? undefined : kubernetesKubeconfig;

/** Name of this replica, fit for the name of an object. */
export function replicaNameOf({ replicaName }: Pick<KubernetesConfig, "replicaName">, host = hostname()): string {
  if (replicaName !== undefined) return replicaName;
  const name = host
    .toLowerCase()
    .replace(/[^-.a-z0-9]/g, "-")
    .slice(0, 200);
  return name.replace(/^[-.]+|[-.]+$/g, "") || "replica";
}

/**
 * Exactly one home: `others` are further homes of the program by the path of their setting, and whether they are
 * chosen. One sentence for each fault.
 */
export function homeFaults(config: KubernetesConfig, others: Readonly<Record<string, boolean>>): string[] {
  const { kubernetesInCluster, kubernetesKubeconfig } = config;
  const homes = Object.entries({
    ...others,
    "kubernetes.inCluster": kubernetesInCluster,
    "kubernetes.kubeconfig": kubernetesKubeconfig !== undefined,
  });
  const chosen = homes.filter(([, isChosen]) => isChosen).length;
  if (chosen === 1) return [];
  const names = homes.map(([name]) => name);
  return [`${names.slice(0, -1).join(", ")} and ${names.at(-1) ?? ""}: exactly one is needed, got ${chosen}`];
}
