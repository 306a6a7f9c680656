import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { CHARTS, type Chart } from "../harness/helm.ts";
import { opensslRoot, type KeyAndCertificate } from "../harness/openssl.ts";
import { eventually } from "../harness/wait.ts";
import { ALLOWED } from "../real/chart-rights.ts";
import { endOfRecord, requestsTo } from "./audit.ts";
import type { Cluster } from "./cluster.ts";
import { forgetVault, setUpVault } from "./guide-vault.ts";
import {
  agentValues,
  applyCrds,
  helm,
  installServer,
  meshctl,
  NAMESPACE,
  register,
  release,
  removeOurs,
} from "./install.ts";
import { applyIstiodChart, installIstioWithAgent, patchIstiod, plainIstiod, untilIstiodReady } from "./istiod.ts";
import { chainFrom, handedOutRoot, istiodPods, podsOf, verify } from "./judge.ts";
import { applyVirtualMesh, meshOf } from "./mesh.ts";
import { giveOldAccount, runAsOldAccount, addRevision, takeOldAccount } from "./variants.ts";
import { RIGHTS_OF_CREDENTIALS, RIGHTS_OF_RESTARTS, RIGHTS_USED_WITHOUT_PODS, unusedRights } from "./rights.ts";
import { useClusters } from "./suite.ts";

/** What the programs make for themselves, and must find again. */
const SECRETS = [
  ...["relay-root-tls-secret", "relay-root-key-secret", "relay-tls-signing-secret", "relay-client-tls-secret"],
] as const;
const KINDS = "deployment,service,serviceaccount,role,rolebinding,poddisruptionbudget,networkpolicy,configmap";
const OURS = ["--all-namespaces", "--selector", "app.kubernetes.io/part-of=mesh-relay", "--output", "name"];
const PATIENT = { timeoutMs: 120_000, intervalMs: 500 };

interface Secret {
  readonly metadata: { readonly uid: string };
  readonly data: Readonly<Record<string, string>>;
}
interface IssuedCertificate {
  readonly status?: { readonly replicas?: readonly { readonly podName: string; readonly state: string }[] };
}

let root: KeyAndCertificate;
let begin = 0;

const clusters = useClusters({
  until: "bookinfo",
  count: 1,
  setUp: async () => {
    begin = await endOfRecord(one());
    root = await opensslRoot("my-org");
    await forgetVault(one());
    await setUpVault(one(), root);
    // The standard that forbids most holds for all that the charts make.
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    await one().apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE, labels } });
  },
  tearDown: async () => {
    await removeOurs(one());
    await takeOldAccount(one());
    await plainIstiod(one());
    await untilIstiodReady(one(), 1, 1);
  },
});
const options = { skip: clusters.skip, timeout: 300_000 };
const one = (): Cluster => clusters.cluster(1);

const secretsOf = (names: readonly string[]) =>
  Promise.all(
    names.map(async (name) => {
      const { metadata, data } = await one().get<Secret>("secret", name, "--namespace", NAMESPACE);
      return { uid: metadata.uid, data };
    }),
  );

/** Waits until each istiod pod of now is told to be proved; has one sign, and openssl judge. */
async function signsUnderTheRootOfVault(): Promise<void> {
  await one().untilRolledOut("istio-system", "deploy/istiod", 180_000);
  const isProved = async (): Promise<boolean> => {
    const where = ["issuedcertificate", meshOf(one()), "--namespace", NAMESPACE];
    const { replicas = [] } = (await one().get<IssuedCertificate>(...where)).status ?? {};
    const proved = replicas.filter(({ state }) => state === "FINISHED").map(({ podName }) => podName);
    const pods = await istiodPods(one());
    return pods.length > 0 && pods.every(({ metadata }) => proved.includes(metadata.name));
  };
  await eventually("a proved certificate of every istiod pod", isProved, PATIENT);
  await istiodSigns();
}

async function istiodSigns(): Promise<void> {
  const [istiod] = await istiodPods(one());
  assert.ok(istiod);
  await verify((await chainFrom(one(), istiod, root.certificate)).slice(0, -1), root.certificate);
}

const untilConnected = () => {
  const connected = "--for=jsonpath={.status.session.connected}=true";
  const which = [`kubernetescluster/${one().name}`, "--namespace", NAMESPACE, "--timeout=90s"];
  return one().kubectl(["wait", connected, ...which], { timeoutMs: 95_000 });
};

const mesh = (ttlDays: number): Promise<void> =>
  applyVirtualMesh({ ...clusters.fleet(), clusters: [one(), one()] }, { meshes: [one()], ttlDays });

test("charts - server and agent come up side by side, under the restricted standard", options, async () => {
  await applyCrds(one());
  await installServer(one());
  await register({ kubeconfig: clusters.fleet().kubeconfig, server: one(), cluster: one() });
  await untilConnected();
  await mesh(30);
});

for (const [file, deploy] of [
  // On an istiod that is there without ours, then on one that has ours in the other form.
  ["istio-operator.yaml", () => installIstioWithAgent(one())],
  ["istio-operator-native.yaml", () => installIstioWithAgent(one(), "istio-operator-native.yaml")],
  ["istiod-patch.yaml", () => plainIstiod(one()).then(() => patchIstiod(one()))],
  ["istiod-patch-native.yaml", () => plainIstiod(one()).then(() => patchIstiod(one(), "istiod-patch-native.yaml"))],
  ["istiod-values.yaml", () => plainIstiod(one()).then(() => applyIstiodChart(one()))],
] as const) {
  test(`charts - with ${file} istiod comes up and signs under the root of Vault`, options, async () => {
    await deploy();
    await signsUnderTheRootOfVault();
  });
}

test("charts - an istiod that runs as istiod-service-account is let in as well", options, async () => {
  await giveOldAccount(one());
  await runAsOldAccount(one());
  await signsUnderTheRootOfVault();
});

/** Deletes all pods of ours as a drain of their only node does, and waits until others are there. */
async function assertDrains(): Promise<void> {
  const ours = async () => (await podsOf(one(), NAMESPACE)).map(({ metadata }) => metadata.uid);
  const before = await ours();
  const which = ["--pod-selector", "app.kubernetes.io/part-of=mesh-relay", "--delete-emptydir-data", "--timeout=90s"];
  const node = one().plan.nodeName;
  try {
    await one().kubectl(["drain", node, "--ignore-daemonsets", ...which], { timeoutMs: 120_000 });
  } finally {
    await one().kubectl(["uncordon", node]);
  }
  for (const chart of CHARTS) await one().untilRolledOut(NAMESPACE, `deploy/${chart}`);
  const after = await ours();
  assert.equal(after.length, before.length);
  assert.deepEqual(
    after.filter((uid) => before.includes(uid)),
    [],
  );
  await istiodSigns();
}

test("charts - a drain evicts the only pod of server and agent", options, assertDrains);

/** The new pods come up on the only node while it is drained, as they would on another. */
const ELSEWHERE = { tolerations: [{ key: "node.kubernetes.io/unschedulable", operator: "Exists" }] };
const CHANGED: Readonly<Record<Chart, (cluster: Cluster) => object>> = {
  "enterprise-networking": () => ({
    enterpriseNetworking: { replicas: 2, ...ELSEWHERE },
    relay: { additionalSans: ["relay.example.com"] },
  }),
  "enterprise-agent": (cluster) => ({
    ...agentValues(cluster, cluster),
    enterpriseAgent: { replicas: 2, ...ELSEWHERE },
    istiodSidecar: { createRoleBinding: true, revisions: ["canary"] },
  }),
};

test("charts - an upgrade with other values keeps identities and certificates", options, async () => {
  const before = await secretsOf(SECRETS);
  for (const chart of CHARTS) {
    await release(one(), chart, CHANGED[chart](one()));
    const { spec } = await one().get<{ spec: { replicas: number } }>("deployment", chart, "--namespace", NAMESPACE);
    assert.equal(spec.replicas, 2);
  }
  await untilConnected();
  assert.deepEqual(await secretsOf(SECRETS), before);
  await mesh(29);
  await signsUnderTheRootOfVault();
});

test("charts - a drain evicts both pods of server and agent, one after the other", options, assertDrains);

test("charts - an istiod of another revision is a Mesh of its own for as long as it is there", options, async () => {
  const wait = (...what: string[]) => one().kubectl(["wait", ...what, "--namespace", NAMESPACE, "--timeout=60s"]);
  const name = `mesh/istiod-canary-istio-system-${one().name}`;
  {
    await using _ = await addRevision(one(), "canary");
    await wait("--for=create", name);
  }
  await wait("--for=delete", name);
});

test("charts - a cluster is registered from inside of the server's pod, too", options, async () => {
  const server = { namespace: NAMESPACE, pod: "deploy/enterprise-networking" };
  const where = ["--admin-socket", "/run/mesh-relay/admin.sock"];
  const output = await one().exec(server, ["node", "/app/meshctl.js", "cluster", "register", "elsewhere", ...where]);
  assert.match(output, /token/);
  await one().kubectl(["delete", "kubernetescluster", "elsewhere", "--namespace", NAMESPACE]);
});

test("charts - the relay's own root is replaced under a living agent", options, async () => {
  for (const stage of [/old one, which signs/, /the new root signs/, /one root is trusted, and signs/]) {
    const rotate = () => meshctl(one(), ["relay", "rotate-ca"]);
    assert.match(await eventually("the next step", rotate, PATIENT), stage);
  }
  await untilConnected();
});

test("charts - workloads are given the root of Vault", options, async () => {
  const isHandedOut = async (): Promise<boolean> => (await handedOutRoot(one())) === root.certificate.trimEnd();
  await eventually("the root in bookinfo", isHandedOut, PATIENT);
});

// Before the uninstall, which takes the Roles away from pods that still take their leave.
test("charts - no request of any program was refused for lack of a right", options, async () => {
  const requests = await requestsTo(one(), begin);
  assert.ok(requests.length > 20, `only ${requests.length} requests were recorded`);
  assert.deepEqual(
    requests.filter(({ isAllowed }) => !isAllowed),
    [],
  );
});

test("charts - every right was used by now, but for what other tests use", options, async () => {
  const without = RIGHTS_USED_WITHOUT_PODS.flatMap(([, , rights]) => rights);
  const others = [...without, ...RIGHTS_OF_RESTARTS, ...RIGHTS_OF_CREDENTIALS];
  const textOf = (rights: readonly object[]) => rights.map((right) => JSON.stringify(right));
  const [allowed, left] = [textOf(ALLOWED), textOf(others)];
  assert.deepEqual(
    left.filter((right) => !allowed.includes(right)),
    [],
    "what is left to other tests is a right of the charts",
  );
  const unused = textOf(unusedRights(ALLOWED, await requestsTo(one(), begin)));
  assert.deepEqual(
    unused.filter((right) => !left.includes(right)),
    [],
  );
  for (const [file, name] of RIGHTS_USED_WITHOUT_PODS) {
    const source = await readFile(join(import.meta.dirname, "../real", file), "utf8");
    assert.ok(source.includes(`test("${name}"`), `${file} has no test "${name}"`);
  }
});

/** What the programs wrote, and what every namespace has. */
const KEPT =
  /^(?:secret|configmap|serviceaccount|lease\.coordination\.k8s\.io|event(?:\.events\.k8s\.io)?|.*\.solo\.io)$/;

/** Kinds of all objects in our namespace. */
async function kindsLeft(): Promise<string[]> {
  const kinds = await one().kubectl(["api-resources", "--namespaced", "--verbs=list", "--output=name"]);
  const listed = kinds.trim().split("\n").join();
  const names = await one().kubectl(["get", listed, "--namespace", NAMESPACE, "--output=name", "--ignore-not-found"]);
  return [...new Set(names.trim().split("\n"))].map((name) => name.split("/")[0] ?? "");
}

test(
  "charts - uninstalled, they leave istiod signing; installed again, they go on where they ended",
  options,
  async () => {
    const before = await secretsOf(SECRETS);
    for (const chart of CHARTS) await helm(one(), ["uninstall", chart, "--wait"]);
    await istiodSigns();
    assert.equal(await one().kubectl(["get", `${KINDS},clusterrole,clusterrolebinding`, ...OURS]), "");
    await eventually("nothing but what docs/charts.md names", async () => {
      const left = await kindsLeft();
      return left.every((kind) => KEPT.test(kind)) && left.some((kind) => kind.startsWith("issuedcertificate."));
    });
    await installServer(one());
    await release(one(), "enterprise-agent", agentValues(one(), one()));
    await untilConnected();
    await mesh(28);
    await signsUnderTheRootOfVault();
    assert.deepEqual(await secretsOf(SECRETS), before);
  },
);
