/** One SubjectAccessReview. */
export interface Question {
  /** namespace/name of a service account. */
  readonly user: string;
  readonly verb: string;
  readonly group?: string;
  /** `kind` or `kind/subresource`. */
  readonly resource: string;
  readonly name?: string;
  /** Absent: of the cluster, or in all namespaces. */
  readonly namespace?: string;
}

/** The questions as objects to create, in one List. */
export function reviews(questions: readonly Question[]): string {
  const items = questions.map(({ user, verb, group = "", resource, name, namespace }) => {
    const [kind = "", subresource] = resource.split("/");
    const where = { ...(name !== undefined && { name }), ...(namespace !== undefined && { namespace }) };
    const [of = "", account = ""] = user.split("/");
    const groups = ["system:serviceaccounts", `system:serviceaccounts:${of}`, "system:authenticated"];
    return {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: {
        user: `system:serviceaccount:${of}:${account}`,
        groups,
        resourceAttributes: { verb, group, resource: kind, ...(subresource && { subresource }), ...where },
      },
    };
  });
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly name: string; readonly namespace: string }[];
}

/** All that the Roles of these manifests give to somebody, one question for each. */
export function grantsOf(manifests: readonly unknown[]): Question[] {
  const all = manifests.filter((manifest): manifest is Manifest => manifest !== null);
  return all.flatMap(({ roleRef, subjects = [], metadata: { namespace } }) => {
    const role = all.find(({ kind, metadata }) => {
      return kind === roleRef?.kind && metadata.name === roleRef.name && metadata.namespace === namespace;
    });
    const users = subjects.map((subject) => `${subject.namespace}/${subject.name}`);
    return users.flatMap((user) => (role?.rules ?? []).flatMap((rule) => questionsOf(user, rule, namespace)));
  });
}

function questionsOf(user: string, rule: Rule, namespace: string | undefined): Question[] {
  const { apiGroups, resources, resourceNames = [undefined], verbs } = rule;
  const pairs = apiGroups.flatMap((group) => resources.map((resource) => ({ group, resource })));
  return pairs.flatMap(({ group, resource }) =>
    resourceNames.flatMap((name) => verbs.map((verb) => question({ user, verb, group, resource, name, namespace }))),
  );
}

type Parts = { readonly [K in keyof Question]: Question[K] | undefined } & Pick<Question, "user" | "verb" | "resource">;

function question({ user, verb, resource, group = "", name, namespace }: Parts): Question {
  return {
    ...{ user, verb, group, resource },
    ...(name !== undefined && { name }),
    ...(namespace !== undefined && { namespace }),
  };
}

const NETWORKING = "networking.mesh.gloo.solo.io";
const DISCOVERY = "discovery.mesh.gloo.solo.io";
const CERTIFICATES = "certificates.mesh.gloo.solo.io";
const LEASES = "coordination.k8s.io";

/** Verbs, and what they may be done to: resource, its group, one name of it. */
export type Line = readonly [verbs: string, resource: string, group?: string, name?: string];

/** One question for each verb of each line. */
export function questions(user: string, namespace: string | undefined, lines: readonly Line[]): Question[] {
  return lines.flatMap(([verbs, resource, group, name]) =>
    verbs.split(" ").map((verb) => question({ user, verb, group, resource, name, namespace })),
  );
}

export const SERVER = "gloo-mesh/enterprise-networking";
export const AGENT = "gloo-mesh/enterprise-agent";
const ISTIOD = "istio-system/istiod";
const OLD_ISTIOD = "istio-system/istiod-service-account";

/** What the programs ask of the API server: all of it, and nothing else is given. */
export const ALLOWED: readonly Question[] = [
  ...questions(SERVER, "gloo-mesh", [
    ["list watch", "virtualmeshes", NETWORKING],
    ["patch", "virtualmeshes/status", NETWORKING],
    ["create delete list patch watch", "meshes", DISCOVERY],
    ["patch", "meshes/status", DISCOVERY],
    ["create get list watch", "kubernetesclusters", "multicluster.solo.io"],
    ["update", "kubernetesclusters/status", "multicluster.solo.io"],
    ["list update watch", "secrets", "", "relay-server-tls-secret"],
    ["list update watch", "secrets", "", "relay-root-tls-secret"],
    ["list update watch", "secrets", "", "relay-root-key-secret"],
    ["list update watch", "secrets", "", "relay-tls-signing-secret"],
    ["create", "secrets"],
    ["create delete get list update watch", "leases", LEASES],
    ["create patch", "events", "events.k8s.io"],
  ]),
  ...questions(AGENT, "gloo-mesh", [
    ["create delete get list update watch", "issuedcertificates", CERTIFICATES],
    ["update", "issuedcertificates/status", CERTIFICATES],
    ["create list patch watch", "podbouncedirectives", CERTIFICATES],
    ["patch", "podbouncedirectives/status", CERTIFICATES],
    ["create get patch", "secrets", "", "relay-client-tls-secret"],
    ["get", "secrets", "", "relay-root-tls-secret"],
    ["get delete", "secrets", "", "relay-identity-token-secret"],
    ["create list patch watch", "configmaps", "", "enterprise-agent-ca"],
    ["list watch", "pods"],
    ["get update", "leases", LEASES, "enterprise-agent"],
    ["create", "leases", LEASES],
    ["create patch", "events", "events.k8s.io"],
  ]),
  ...questions(AGENT, "istio-system", [["list watch", "pods"]]),
  ...questions(AGENT, undefined, [
    ["create", "tokenreviews", "authentication.k8s.io"],
    ["create", "subjectaccessreviews", "authorization.k8s.io"],
    ["list watch", "deployments", "apps"],
    ["get", "replicasets", "apps"],
    ["get", "pods"],
    ["list watch", "services"],
    ["list watch", "nodes"],
    ["list watch", "configmaps", "", "istio"],
    ["list watch", "configmaps", "", "istio-ca-root-cert"],
    ["list", "pods"],
    ["get", "daemonsets", "apps"],
    ["get", "statefulsets", "apps"],
    ["get", "replicationcontrollers"],
    ["create", "pods/eviction"],
  ]),
  ...[ISTIOD, OLD_ISTIOD].flatMap((user) => [
    ...questions(user, "istio-system", [["create", "serviceaccounts/token", "", user.split("/")[1] ?? ""]]),
    ...questions(user, "gloo-mesh", [
      ["get", "configmaps", "", "enterprise-agent-ca"],
      ["link", "issuedcertificates", CERTIFICATES],
    ]),
  ]),
];

/** What an intruder in one of the programs would like. */
export const REFUSED: readonly Question[] = [
  ...questions(SERVER, "gloo-mesh", [
    ["list watch", "secrets"],
    ["get", "secrets", "", "relay-client-tls-secret"],
    ["get", "secrets", "", "foreign"],
    ["delete patch", "secrets", "", "relay-root-tls-secret"],
    ["delete patch", "secrets", "", "relay-root-key-secret"],
    ["delete patch", "secrets", "", "relay-tls-signing-secret"],
    ["create delete patch update", "virtualmeshes", NETWORKING],
    ["update deletecollection", "meshes", DISCOVERY],
    ["delete patch update", "kubernetesclusters", "multicluster.solo.io"],
    ["create get", "pods/exec"],
    ["create", "pods"],
    ["create", "serviceaccounts/token"],
    ["link patch create", "issuedcertificates", CERTIFICATES],
    ["create patch", "roles", "rbac.authorization.k8s.io"],
  ]),
  ...questions(SERVER, undefined, [
    ["get list", "secrets"],
    ["list watch", "virtualmeshes", NETWORKING],
    ["list", "namespaces"],
    ["list", "pods"],
    ["list", "nodes"],
    ["create", "tokenreviews", "authentication.k8s.io"],
    ["create", "subjectaccessreviews", "authorization.k8s.io"],
  ]),
  ...questions(AGENT, "gloo-mesh", [
    ["list watch", "secrets"],
    ["create", "secrets"],
    ["create", "secrets", "", "relay-server-tls-secret"],
    ["delete patch update", "secrets", "", "relay-root-tls-secret"],
    ["create patch", "secrets", "", "relay-identity-token-secret"],
    ["create", "configmaps"],
    ["get", "secrets", "", "relay-root-key-secret"],
    ["get", "secrets", "", "relay-tls-signing-secret"],
    ["get update", "secrets", "", "relay-server-tls-secret"],
    ["delete", "secrets", "", "relay-client-tls-secret"],
    ["update", "leases", LEASES, "enterprise-networking"],
    ["patch", "configmaps", "", "foreign"],
    ["patch update", "kubernetesclusters", "multicluster.solo.io"],
    ["create patch", "virtualmeshes", NETWORKING],
    ["create", "pods/exec"],
    ["create", "serviceaccounts/token"],
  ]),
  ...questions(AGENT, "istio-system", [
    ["get list", "secrets"],
    ["get", "secrets", "", "cacerts"],
    ["get", "secrets", "", "istio-ca-secret"],
    ["patch update delete", "pods"],
    ["patch update delete", "deployments", "apps"],
    ["patch create update", "configmaps"],
    ["create", "serviceaccounts/token", "", "istiod"],
    ["create get", "pods/exec"],
    ["create", "issuedcertificates", CERTIFICATES],
  ]),
  ...questions(AGENT, undefined, [
    ["get list watch", "secrets"],
    ["impersonate", "serviceaccounts"],
    ["list watch", "configmaps"],
    ["get", "configmaps", "", "foreign"],
    ["patch update", "nodes"],
    ["create patch", "clusterroles", "rbac.authorization.k8s.io"],
    ["delete deletecollection", "pods"],
  ]),
  ...[ISTIOD, OLD_ISTIOD].flatMap((user) => [
    ...questions(user, "gloo-mesh", [
      ["get list watch create patch update delete", "issuedcertificates", CERTIFICATES],
      ["patch update", "issuedcertificates/status", CERTIFICATES],
      ["get list", "secrets"],
      ["get", "secrets", "", "relay-client-tls-secret"],
      ["list watch patch update", "configmaps"],
      ["create", "serviceaccounts/token", "", "enterprise-agent"],
    ]),
    ...questions(user, "istio-system", [
      ["create", "serviceaccounts/token", "", user === ISTIOD ? "istiod-service-account" : "istiod"],
      ["create", "serviceaccounts/token", "", "default"],
      ["get list", "secrets"],
      ["link", "issuedcertificates", CERTIFICATES],
    ]),
  ]),
  ...questions("istio-system/default", "gloo-mesh", [
    ["link", "issuedcertificates", CERTIFICATES],
    ["get", "configmaps", "", "enterprise-agent-ca"],
  ]),
];
