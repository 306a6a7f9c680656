/** Istiods that are not as Istio's installation of today makes them. */
import type { Cluster } from "./cluster.ts";

const RBAC = "rbac.authorization.k8s.io";
const NAMESPACE = "istio-system";
/** What istiod ran as before Istio 1.11. */
const OLD_ACCOUNT = "istiod-service-account";

/** Makes that account, with Istio's own rights for istiod. */
export async function giveOldAccount(cluster: Cluster): Promise<void> {
  const subjects = [{ kind: "ServiceAccount", name: OLD_ACCOUNT, namespace: NAMESPACE }];
  const binding = (kind: "Role" | "ClusterRole", role: string, namespace?: string) => ({
    ...{ apiVersion: `${RBAC}/v1`, kind: `${kind}Binding`, subjects },
    metadata: { name: OLD_ACCOUNT, ...(namespace !== undefined && { namespace }) },
    roleRef: { apiGroup: RBAC, kind, name: role },
  });
  await cluster.apply(
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: OLD_ACCOUNT, namespace: NAMESPACE } },
    binding("ClusterRole", "istiod-clusterrole-istio-system"),
    binding("Role", "istiod", NAMESPACE),
  );
}

/** Has istiod run as that account from now on; waits for nothing. */
export async function runAsOldAccount(cluster: Cluster): Promise<void> {
  const patch = JSON.stringify({ spec: { template: { spec: { serviceAccountName: OLD_ACCOUNT } } } });
  await cluster.kubectl(["patch", "deployment", "istiod", "--namespace", NAMESPACE, "--patch", patch]);
}

/** Takes the account away, where it is. */
export async function takeOldAccount(cluster: Cluster): Promise<void> {
  const kinds = ["serviceaccount,rolebinding,clusterrolebinding", OLD_ACCOUNT];
  await cluster.kubectl(["delete", ...kinds, "--namespace", NAMESPACE, "--ignore-not-found"]);
}

interface Deployment {
  readonly apiVersion: string;
  readonly kind: string;
  readonly spec: { readonly template: { readonly spec: { readonly containers: readonly Container[] } } };
}

interface Container {
  readonly name: string;
  readonly env?: readonly { readonly name: string }[];
}

/** An istiod of another revision without a pod, and its configuration, until it is disposed. */
export async function addRevision(cluster: Cluster, revision: string): Promise<AsyncDisposable> {
  const where = ["--namespace", NAMESPACE];
  const { apiVersion, kind, spec } = await cluster.get<Deployment>("deployment", "istiod", ...where);
  const containers = spec.template.spec.containers.map(({ env = [], ...container }) => ({
    ...container,
    env: env.map((each) => (each.name === "REVISION" ? { name: "REVISION", value: revision } : each)),
  }));
  const labels = { app: "istiod", "istio.io/rev": revision };
  const template = { metadata: { labels }, spec: { ...spec.template.spec, containers } };
  const { data } = await cluster.get<{ data: object }>("configmap", "istio", ...where);
  await cluster.apply(
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: `istio-${revision}`, namespace: NAMESPACE }, data },
    {
      ...{ apiVersion, kind, metadata: { name: `istiod-${revision}`, namespace: NAMESPACE, labels } },
      spec: { replicas: 0, selector: { matchLabels: labels }, template },
    },
  );
  return {
    [Symbol.asyncDispose]: async () => {
      await cluster.kubectl(["delete", "deployment", `istiod-${revision}`, ...where]);
      await cluster.kubectl(["delete", "configmap", `istio-${revision}`, ...where]);
    },
  };
}

interface Role {
  readonly rules: readonly { readonly resources?: readonly string[] }[];
}

/** Takes from istiod the right to Secrets that Istio gives it everywhere, until it is disposed. */
export async function withoutRightToSecrets(cluster: Cluster): Promise<AsyncDisposable> {
  const role = ["clusterrole", "istiod-clusterrole-istio-system"];
  const { rules } = await cluster.get<Role>(...role);
  const write = (now: Role["rules"]) =>
    cluster.kubectl(["patch", ...role, "--type", "merge", "--patch", JSON.stringify({ rules: now })]);
  await write(rules.filter(({ resources = [] }) => !resources.includes("secrets")));
  return {
    [Symbol.asyncDispose]: async () => {
      await write(rules);
    },
  };
}

/** Has a token of istiod's account, for that audience, mounted where our containers are; waits for nothing. */
export async function mountToken(
  cluster: Cluster,
  { directory, key, audience }: { readonly directory: string; readonly key: string; readonly audience: string },
): Promise<void> {
  const name = "mounted-token";
  const token = { serviceAccountToken: { path: key, audience, expirationSeconds: 600 } };
  const volumeMounts = [{ name, mountPath: directory, readOnly: true }];
  const spec = {
    volumes: [{ name, projected: { sources: [token] } }],
    initContainers: [{ name: "istiod-agent-init", volumeMounts }],
    containers: [{ name: "istiod-agent", volumeMounts }],
  };
  const patch = JSON.stringify({ spec: { template: { spec } } });
  await cluster.kubectl(["patch", "deployment", "istiod", "--namespace", NAMESPACE, "--patch", patch]);
}
