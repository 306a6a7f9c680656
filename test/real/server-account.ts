import { writeFile } from "node:fs/promises";
import type { ApiServer } from "../harness/api-server.ts";
import type { TemporaryFolder } from "../harness/folder.ts";

const NAMESPACE = "gloo-mesh";

/** All that the server may do, in its own namespace: what its chart gives it. */
export const SERVER_RULES = [
  { apiGroups: ["networking.mesh.gloo.solo.io"], resources: ["virtualmeshes"], verbs: ["list", "watch"] },
  { apiGroups: ["networking.mesh.gloo.solo.io"], resources: ["virtualmeshes/status"], verbs: ["patch"] },
  {
    apiGroups: ["discovery.mesh.gloo.solo.io"],
    resources: ["meshes"],
    verbs: ["create", "delete", "list", "patch", "watch"],
  },
  { apiGroups: ["discovery.mesh.gloo.solo.io"], resources: ["meshes/status"], verbs: ["patch"] },
  {
    apiGroups: ["multicluster.solo.io"],
    resources: ["kubernetesclusters"],
    verbs: ["create", "get", "list", "watch"],
  },
  { apiGroups: ["multicluster.solo.io"], resources: ["kubernetesclusters/status"], verbs: ["update"] },
  {
    apiGroups: [""],
    resources: ["secrets"],
    resourceNames: [
      "relay-root-tls-secret",
      "relay-server-tls-secret",
      "relay-root-key-secret",
      "relay-tls-signing-secret",
    ],
    verbs: ["list", "watch"],
  },
  {
    apiGroups: [""],
    resources: ["secrets"],
    resourceNames: [
      "relay-server-tls-secret",
      "relay-root-tls-secret",
      "relay-root-key-secret",
      "relay-tls-signing-secret",
    ],
    verbs: ["update"],
  },
  { apiGroups: [""], resources: ["secrets"], verbs: ["create"] },
  {
    apiGroups: ["coordination.k8s.io"],
    resources: ["leases"],
    verbs: ["create", "delete", "get", "list", "update", "watch"],
  },
  { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
];

/** A kubeconfig for the server's account, which is made with those rights alone. */
export async function serverKubeconfig(api: ApiServer, folder: TemporaryFolder): Promise<string> {
  const name = "enterprise-networking";
  await api.createServiceAccount(NAMESPACE, name);
  const rbac = { apiVersion: "rbac.authorization.k8s.io/v1", metadata: { namespace: NAMESPACE, name } };
  await api.apply(
    { ...rbac, kind: "Role", rules: SERVER_RULES },
    {
      ...rbac,
      kind: "RoleBinding",
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name },
      subjects: [{ kind: "ServiceAccount", namespace: NAMESPACE, name }],
    },
  );
  const token = await api.createToken({ namespace: NAMESPACE, serviceAccount: name, expirationSeconds: 86_400 });
  const file = folder.file("kubeconfig");
  const config = {
    clusters: [{ name: "c", cluster: { server: api.url, "certificate-authority": api.caFile } }],
    users: [{ name: "u", user: { token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}
