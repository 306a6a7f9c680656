import { writeFile } from "node:fs/promises";
import { KubeClient } from "../../common/kube/client.ts";
import type { ApiServer } from "../harness/api-server.ts";
import type { TemporaryFolder } from "../harness/folder.ts";

/** A rule of a Role or ClusterRole. */
export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** Rules of one account: over the whole cluster, and inside namespaces. */
export interface Rights {
  readonly everywhere?: readonly Rule[];
  readonly inside?: Readonly<Record<string, readonly Rule[]>>;
}

const RBAC = "rbac.authorization.k8s.io";

/**
 * A client that may do what these rights say and no more: it signs in as a service account of that name in gloo-mesh,
 * which is made.
 */
export async function clientWithRights(
  { api, folder }: { readonly api: ApiServer; readonly folder: TemporaryFolder },
  name: string,
  { everywhere = [], inside = {} }: Rights,
): Promise<KubeClient> {
  await api.createServiceAccount("gloo-mesh", name);
  const subjects = [{ kind: "ServiceAccount", namespace: "gloo-mesh", name }];
  const role = (kind: "Role" | "ClusterRole", metadata: object, rules: readonly Rule[]) => [
    { apiVersion: `${RBAC}/v1`, kind, metadata, rules },
    {
      ...{ apiVersion: `${RBAC}/v1`, kind: `${kind}Binding`, metadata },
      ...{ subjects, roleRef: { apiGroup: RBAC, kind, name } },
    },
  ];
  const namespaced = Object.entries(inside).flatMap(([namespace, rules]) => role("Role", { namespace, name }, rules));
  await api.apply(...role("ClusterRole", { name }, everywhere), ...namespaced);
  const token = await api.createToken({ namespace: "gloo-mesh", serviceAccount: name });
  const file = folder.file(`kubeconfig-${name}`);
  const config = {
    clusters: [{ name: "c", cluster: { server: api.url, "certificate-authority": api.caFile } }],
    users: [{ name: "u", user: { token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  await writeFile(file, JSON.stringify(config));
  return KubeClient.open(file);
}
