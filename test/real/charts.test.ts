import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { parseAllDocuments } from "yaml";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { chartFolder, CHARTS, CRDS_FOLDER, Helm, HELM_TOOLS, type Chart } from "../harness/helm.ts";
import { skipWithout } from "../harness/needs.ts";
import { ensureTools } from "../tools/build.ts";
import { ALLOWED, grantsOf, REFUSED, reviews, type Question } from "./chart-rights.ts";
import { SERVER_RULES } from "./server-account.ts";

const AGENT = { cluster: "cluster-1", serverAddress: "enterprise-networking.gloo-mesh:9900" };
const VALUES: Readonly<Record<Chart, object>> = {
  "enterprise-networking": {},
  "enterprise-agent": { relay: AGENT, istiodSidecar: { createRoleBinding: true } },
};
/** As an administrator would after the first installation. */
const CHANGED: Readonly<Record<Chart, object>> = {
  "enterprise-networking": { enterpriseNetworking: { replicas: 2, serviceType: "NodePort" }, verbose: true },
  "enterprise-agent": {
    relay: AGENT,
    enterpriseAgent: { replicas: 2 },
    vault: { caBundle: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" },
    istiodSidecar: {
      createRoleBinding: true,
      istiodServiceAccount: { name: "istiod-canary", namespace: "istio-system" },
      tokenSecrets: [{ name: "vault-token", namespace: "gloo-mesh" }],
      serviceAccounts: [{ name: "vault-login", namespace: "istio-system" }],
    },
  },
};
const KINDS = "deployment,service,serviceaccount,role,rolebinding,poddisruptionbudget,networkpolicy,configmap";

suite("real api server, charts", { skip: skipWithout([...API_SERVER_TOOLS, ...HELM_TOOLS]) }, () => {
  const stack = new AsyncDisposableStack();
  let api: ApiServer;
  let helm: Helm;
  before(async () => {
    const tools = await ensureTools(HELM_TOOLS);
    api = stack.use(await startApiServer());
    helm = new Helm(tools.helm, stack.use(await temporaryFolder()), api.kubeconfig);
    for (const namespace of ["gloo-mesh", "istio-system"]) await api.kubectl(["create", "namespace", namespace]);
    await api.kubectl(["apply", "--server-side", "-f", CRDS_FOLDER]);
    await api.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
  });
  after(() => stack.disposeAsync());

  const release = (verb: "install" | "upgrade", chart: Chart, values: object) =>
    helm.run([verb, chart, chartFolder(chart), "--namespace", "gloo-mesh"], JSON.stringify(values));
  const ours = async () => {
    const selector = "app.kubernetes.io/part-of=mesh-relay";
    const where = ["--all-namespaces", "--selector", selector, "--output", "name"];
    const names = await api.kubectl(["get", `${KINDS},clusterrole,clusterrolebinding`, ...where]);
    return names.trim().split("\n").filter(Boolean);
  };
  const ask = async (questions: readonly Question[]) => {
    const output = 'jsonpath={.status.allowed}{"\\n"}';
    const answers = (await api.kubectl(["create", "-f", "-", "-o", output], reviews(questions))).trim().split("\n");
    assert.equal(answers.length, questions.length);
    return questions.filter((_, index) => answers[index] === "true");
  };

  for (const chart of CHARTS) {
    test(`real charts - the API server takes all that ${chart} makes, and drops no field`, async () => {
      for (const values of [VALUES[chart], CHANGED[chart]]) {
        const manifests = await helm.template(chart, JSON.stringify(values));
        const args = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
        assert.match(await api.kubectl(args, manifests), /deployment.apps\/.* serverside-applied/);
      }
    });
  }

  test("real charts - server and agent are installed side by side in one namespace", async () => {
    for (const chart of CHARTS) await release("install", chart, VALUES[chart]);
    const names = await ours();
    assert.equal(new Set(names).size, names.length, "two objects of one kind have one name in two namespaces");
    for (const chart of CHARTS) assert.ok(names.includes(`deployment.apps/${chart}`));
    const pods = JSON.parse(await api.kubectl(["get", "deployments", "-n", "gloo-mesh", "-o", "json"])) as Deployments;
    for (const { spec } of pods.items) assert.deepEqual(faults(spec.template), []);
  });

  test("real charts - every right that a program needs is there", async () => {
    const allowed = await ask(ALLOWED);
    assert.deepEqual(
      ALLOWED.filter((question) => !allowed.includes(question)),
      [],
    );
  });

  test("real charts - no right is given that no program needs", async () => {
    const manifests = await Promise.all(CHARTS.map((chart) => helm.template(chart, JSON.stringify(VALUES[chart]))));
    const given = grantsOf(manifests.flatMap((text) => parseAllDocuments(text).map((each) => each.toJS() as unknown)));
    const sorted = (questions: readonly Question[]) => questions.map((each) => JSON.stringify(each)).sort();
    assert.deepEqual(sorted(given), sorted(ALLOWED));
  });

  test("real charts - the server's own tests run with the rights of its chart, and no other", async () => {
    const manifests = parseAllDocuments(await helm.template("enterprise-networking", "{}"));
    const all = manifests.map((each) => each.toJS() as { kind: string; rules?: readonly object[] } | null);
    assert.deepEqual(all.find((each) => each?.kind === "Role")?.rules, SERVER_RULES);
  });

  test("real charts - what no program needs is refused", async () => {
    assert.deepEqual(await ask(REFUSED), []);
  });

  test("real charts - an upgrade gives the accounts of changed values their rights, and keeps what the programs wrote", async () => {
    const secrets = ["relay-root-tls-secret", "relay-tls-signing-secret", "relay-client-tls-secret"];
    for (const name of secrets) await api.kubectl(["create", "secret", "generic", name, "-n", "gloo-mesh"]);
    const certificate = {
      apiVersion: "certificates.mesh.gloo.solo.io/v1",
      kind: "IssuedCertificate",
      metadata: { name: "istiod-istio-system-cluster-1", namespace: "gloo-mesh" },
      spec: {},
    };
    await api.apply(certificate);
    const canary = { user: "istio-system/istiod-canary" };
    const questions: Question[] = [
      {
        ...canary,
        verb: "create",
        resource: "serviceaccounts/token",
        name: "istiod-canary",
        namespace: "istio-system",
      },
      { ...canary, verb: "get", resource: "secrets", name: "vault-token", namespace: "gloo-mesh" },
      { ...canary, verb: "create", resource: "serviceaccounts/token", name: "vault-login", namespace: "istio-system" },
      {
        ...canary,
        verb: "link",
        group: "certificates.mesh.gloo.solo.io",
        resource: "issuedcertificates",
        namespace: "gloo-mesh",
      },
    ];
    assert.deepEqual(await ask(questions), []);
    for (const chart of CHARTS) await release("upgrade", chart, CHANGED[chart]);
    assert.deepEqual(await ask(questions), questions);
    for (const chart of CHARTS) await helm.run(["uninstall", chart, "--namespace", "gloo-mesh"]);
    assert.deepEqual(await ours(), []);
    await api.kubectl(["get", "secret", "-n", "gloo-mesh", ...secrets]);
    await api.kubectl(["get", "issuedcertificate", "-n", "gloo-mesh", "istiod-istio-system-cluster-1"]);
  });
});

interface PodTemplate {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
  readonly spec: {
    readonly securityContext: { readonly runAsNonRoot?: boolean; readonly seccompProfile?: { readonly type: string } };
    readonly containers: readonly {
      readonly securityContext: {
        readonly readOnlyRootFilesystem?: boolean;
        readonly allowPrivilegeEscalation?: boolean;
        readonly capabilities?: { readonly drop: readonly string[] };
      };
      readonly livenessProbe?: { readonly httpGet: { readonly path: string } };
      readonly readinessProbe?: { readonly httpGet: { readonly path: string } };
    }[];
  };
}
interface Deployments {
  readonly items: readonly { readonly spec: { readonly template: PodTemplate } }[];
}

/** In what a pod falls short of the restricted pod security standard, of probes, and of keeping Istio's proxy out. */
function faults({ metadata, spec }: PodTemplate): string[] {
  const wrong: string[] = [];
  if (metadata.annotations["sidecar.istio.io/inject"] !== "false") wrong.push("injected");
  if (spec.securityContext.runAsNonRoot !== true) wrong.push("root");
  if (spec.securityContext.seccompProfile?.type !== "RuntimeDefault") wrong.push("seccomp");
  for (const { securityContext, livenessProbe, readinessProbe } of spec.containers) {
    if (securityContext.readOnlyRootFilesystem !== true) wrong.push("writable root file system");
    if (securityContext.allowPrivilegeEscalation !== false) wrong.push("escalation");
    if (securityContext.capabilities?.drop.join() !== "ALL") wrong.push("capabilities");
    if (livenessProbe?.httpGet.path !== "/livez" || readinessProbe?.httpGet.path !== "/readyz") wrong.push("probes");
  }
  return wrong;
}
