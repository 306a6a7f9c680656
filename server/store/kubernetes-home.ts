import { KubeClient } from "../../common/kube/client.ts";
import { KubernetesStatus } from "../status/kubernetes-status.ts";
import type { Home, HomeContext } from "./home.ts";
import { KubernetesSource } from "./kubernetes-source.ts";

export interface KubernetesHomeOptions {
  /** undefined: the cluster that this program runs in. */
  readonly kubeconfigFile: string | undefined;
  /** undefined: all namespaces. */
  readonly namespace: string | undefined;
}

/** An API server as the home of the intent and of its status. Throws `config_invalid`; connects to nothing yet. */
export function kubernetesHome({ kubeconfigFile, namespace }: KubernetesHomeOptions, context: HomeContext): Home {
  const client = KubeClient.open(kubeconfigFile);
  const source = new KubernetesSource({ client, namespace, ...context });
  return {
    intents: source.intents,
    tasks: (statuses) => {
      const writer = new KubernetesStatus({ client, objects: source.virtualMeshes, statuses, ...context });
      return {
        source: async (stop) => {
          await source.run(stop);
          client.close();
        },
        "status writer": (stop) => writer.run(stop),
      };
    },
  };
}
