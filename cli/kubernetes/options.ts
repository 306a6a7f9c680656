import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import * as z from "zod";
import { type ConfigOf, defineOptions } from "../../common/runtime/config.ts";
import { MeshError } from "../../common/runtime/errors.ts";

/** Namespace of our Deployments, Secrets and custom resources, in every cluster. */
export const DEFAULT_NAMESPACE = "gloo-mesh";

/** Which cluster is meant, and our namespace in it. */
export const clusterOptions = defineOptions({
  kubeconfig: {
    path: "kubeconfig",
    schema: z.string().min(1).optional(),
    help: "kubeconfig of the cluster; without it ~/.kube/config",
    argument: "file",
    env: "KUBECONFIG",
  },
  kubecontext: {
    path: "kubecontext",
    schema: z.string().min(1).optional(),
    help: "context of the kubeconfig; without it the current one",
    argument: "name",
  },
  namespace: {
    path: "namespace",
    schema: z.string().min(1).default(DEFAULT_NAMESPACE),
    help: "namespace of the server or agent there",
    argument: "name",
  },
});

/** A cluster, and our namespace in it. */
export type ClusterConfig = ConfigOf<typeof clusterOptions>;

/** The kubeconfig to use: the one given, or the user's own where there is one. */
export function userKubeconfig({ kubeconfig }: Pick<ClusterConfig, "kubeconfig">): string | undefined {
  const own = join(homedir(), ".kube", "config");
  return kubeconfig ?? (existsSync(own) ? own : undefined);
}

/** The same where a cluster is needed. Throws `config_invalid` when there is none. */
export function requireKubeconfig(config: Pick<ClusterConfig, "kubeconfig">): string {
  const file = userKubeconfig(config);
  if (file !== undefined) return file;
  throw new MeshError(
    "config_invalid",
    "which cluster? there is neither --kubeconfig nor $KUBECONFIG nor ~/.kube/config",
    {
      hint: "give --kubeconfig, and --kubecontext for another than its current context",
    },
  );
}
