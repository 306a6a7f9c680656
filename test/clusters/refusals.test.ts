import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import { eventually } from "../harness/wait.ts";
import { agentCaIn, LABELS, podWithToken, shippedPod, TOKEN, type TokenSource } from "./agent-pods.ts";
import type { Cluster, ContainerRef } from "./cluster.ts";
import { agentValues, NAMESPACE, release } from "./install.ts";
import { isHeldBack, scaleIstiod, untilIstiodReady } from "./istiod.ts";
import { istiodPods, type Pod } from "./judge.ts";
import { bringUpMesh, onlyFirst, removeMesh } from "./mesh.ts";
import { useClusters } from "./suite.ts";
import { toldOf, untilSettled } from "./told.ts";

/** A namespace that is not istiod's, with an account of the same name as istiod's. */
const ELSEWHERE = "elsewhere";
const SELECTOR = ["--selector", `test=${LABELS.test}`];

const clusters = useClusters({
  until: "bookinfo",
  count: 1,
  setUp: async (all) => {
    await bringUpMesh(onlyFirst(all));
  },
  tearDown: async (all) => {
    const fleet = onlyFirst(all);
    for (const cluster of fleet.clusters) {
      const kinds = "pod,configmap,secret,role,rolebinding";
      await cluster.kubectl(["delete", kinds, "--namespace", "istio-system", ...SELECTOR], { timeoutMs: 120_000 });
      await cluster.kubectl(["delete", "namespace", ELSEWHERE, "--ignore-not-found"], { timeoutMs: 120_000 });
    }
    await removeMesh(fleet);
  },
});
const options = { skip: clusters.skip, timeout: 300_000 };
const patient = { timeoutMs: 120_000, intervalMs: 500 };

interface Refusal {
  readonly peer: string;
  readonly pod?: string;
  readonly err: { readonly message: string };
}

/** What the agent's log tells of callers that it refused. */
async function refusalsTold(cluster: Cluster): Promise<readonly Refusal[]> {
  const log = await cluster.logs({ namespace: NAMESPACE, pod: "deploy/enterprise-agent" });
  const lines = log.split("\n").filter((line) => line.includes('"istiod-agent refused"'));
  return lines.map((line) => JSON.parse(line) as Refusal);
}

/** Waits until the log of the pod's istiod-agent tells this. */
async function untilSaid(cluster: Cluster, ref: ContainerRef, why: RegExp): Promise<void> {
  await eventually(
    `${why} in the log of ${ref.pod}`,
    async () => assert.match(await cluster.logs(ref), why) ?? true,
    patient,
  );
}

/** Waits until both ends tell why this pod is refused. */
async function untilRefused(cluster: Cluster, { metadata, status }: Placed, why: RegExp): Promise<void> {
  const { name, namespace } = metadata;
  await untilSaid(cluster, { namespace, pod: name, container: "istiod-agent-init" }, why);
  await eventually(
    `${why} in the log of the agent`,
    async () =>
      (await refusalsTold(cluster)).some(({ peer, pod, err }) => {
        const isIt = pod === `${namespace}/${name}` || peer.startsWith(`${status.podIP}:`);
        return isIt && why.test(err.message);
      }),
    patient,
  );
  const files = await readdir(await cluster.volumePath(namespace, name, "cacerts"));
  assert.deepEqual(
    files.filter((file) => file.endsWith(".pem")),
    [],
  );
}

interface Placed extends Pod {
  readonly metadata: Pod["metadata"] & { readonly namespace: string };
}

/** Applies a pod and waits until it runs. */
async function start(cluster: Cluster, pod: object): Promise<Placed> {
  const { metadata } = pod as Placed;
  await cluster.apply(pod);
  return eventually(
    `pod ${metadata.name}`,
    async () => {
      const placed = await cluster.get<Placed>("pod", metadata.name, "--namespace", metadata.namespace);
      return placed.status.phase === "Running" && placed;
    },
    patient,
  );
}

const istiodAccount = { namespace: "istio-system", account: "istiod" };
const mounted = (audience: string): TokenSource => ({ serviceAccountToken: { audience, path: TOKEN } });

async function theIstiod(cluster: Cluster): Promise<Pod> {
  const [istiod] = await untilIstiodReady(cluster);
  assert.ok(istiod);
  return istiod;
}

/** Each is refused for one thing alone; what it shows is sound otherwise. */
const STRANGERS: Readonly<Record<string, { make: (one: Cluster) => Promise<object>; why: (istiod: Pod) => RegExp }>> = {
  "a pod of istiod's account that is not istiod's": {
    make: () => shippedPod({ name: "bare", ...istiodAccount }),
    why: () => /pod istio-system\/bare is not of a ReplicaSet but of no controller/,
  },
  "an account of another namespace": {
    make: async () =>
      podWithToken({ name: "foreign", namespace: ELSEWHERE, account: "istiod" }, mounted("enterprise-agent")),
    why: () => /service account elsewhere\/istiod is not one that istiod runs as/,
  },
  "a token for another audience": {
    make: async () => podWithToken({ name: "other-audience", ...istiodAccount }, mounted("istio-ca")),
    why: () => /token refused: the api server does not accept it for audience enterprise-agent/,
  },
  "the token of an istiod that is linked": {
    make: async (cluster) => {
      const { name } = (await theIstiod(cluster)).metadata;
      const bound = ["--bound-object-kind", "Pod", "--bound-object-name", name, "--audience", "enterprise-agent"];
      const token = await cluster.kubectl(["create", "token", "istiod", "--namespace", "istio-system", ...bound]);
      const metadata = { name: "stolen", namespace: "istio-system", labels: LABELS };
      await cluster.apply({ apiVersion: "v1", kind: "Secret", metadata, stringData: { [TOKEN]: token.trim() } });
      return podWithToken({ name: "thief", ...istiodAccount }, { secret: { name: "stolen" } });
    },
    why: ({ metadata }) => new RegExp(`pod ${metadata.name} \\(${metadata.uid}\\) is linked already`),
  },
};

test("refusals - strangers are refused, each for its own reason, which both ends tell", options, async (t) => {
  const one = clusters.cluster(1);
  const istiod = await theIstiod(one);
  const elsewhere = { name: "istiod", namespace: ELSEWHERE };
  await one.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: ELSEWHERE } });
  await one.apply(
    { apiVersion: "v1", kind: "ServiceAccount", metadata: elsewhere },
    ...(await Promise.all(["istio-system", ELSEWHERE].map((namespace) => agentCaIn(one, namespace)))),
  );
  const subtests = Object.entries(STRANGERS).map(([who, { make, why }]) =>
    t.test(who, async () => untilRefused(one, await start(one, await make(one)), why(istiod))),
  );
  await Promise.all(subtests);
  const told = await toldOf(one);
  assert.deepEqual(
    told.map(({ podUid, connected, state }) => [podUid, connected, state]),
    [[istiod.metadata.uid, true, "FINISHED"]],
    "the one that was imitated is linked as before, and nobody else is told of",
  );
});

/** Lets the accounts of istiod have the role binding of the agent's chart, or not. */
const bindRole = (cluster: Cluster, createRoleBinding: boolean): Promise<void> =>
  release(cluster, "enterprise-agent", { ...agentValues(cluster, cluster), istiodSidecar: { createRoleBinding } });

/** The rights of the chart but one: to link. */
function allButLink(): object[] {
  const subjects = [{ kind: "ServiceAccount", name: "istiod", namespace: "istio-system" }];
  const rules = {
    "istio-system": {
      apiGroups: [""],
      resources: ["serviceaccounts/token"],
      resourceNames: ["istiod"],
      verbs: ["create"],
    },
    [NAMESPACE]: { apiGroups: [""], resources: ["configmaps"], resourceNames: ["enterprise-agent-ca"], verbs: ["get"] },
  };
  return Object.entries(rules).flatMap(([namespace, rule]) => {
    const metadata = { name: "all-but-link", namespace, labels: LABELS };
    const roleRef = { apiGroup: RBAC, kind: "Role", name: "all-but-link" };
    return [
      { apiVersion: `${RBAC}/v1`, kind: "Role", metadata, rules: [rule] },
      { apiVersion: `${RBAC}/v1`, kind: "RoleBinding", metadata, roleRef, subjects },
    ];
  });
}

const RBAC = "rbac.authorization.k8s.io";

test(
  "refusals - without the role binding an istiod waits, told why, and starts once it is there",
  options,
  async () => {
    const one = clusters.cluster(1);
    await bindRole(one, false);
    await scaleIstiod(one, 2);
    const held = await eventually("istiod held back", async () => (await istiodPods(one)).find(isHeldBack), patient);
    const { name, uid } = held.metadata;
    const init = { namespace: "istio-system", pod: name, container: "istiod-agent-init" };
    // Without this right it has no token to come to the agent with, so nobody else can tell.
    await untilSaid(one, init, /may not create serviceaccounts\/token .*istiodSidecar\.createRoleBinding: true/);
    await one.apply(...allButLink());
    const why = /service account istio-system\/istiod may not link issuedcertificates in gloo-mesh/;
    await untilRefused(one, { ...held, metadata: { ...held.metadata, namespace: "istio-system" } }, why);
    await untilSaid(one, init, /istiodSidecar\.createRoleBinding: true in the values of the enterprise-agent chart/);
    assert.ok((await istiodPods(one)).some((pod) => pod.metadata.uid === uid && isHeldBack(pod)));

    await bindRole(one, true);
    const pods = await untilIstiodReady(one, 2);
    assert.ok(
      pods.some(({ metadata }) => metadata.uid === uid),
      "the pod that waited is the one that serves",
    );
    await untilSettled(one);
  },
);
