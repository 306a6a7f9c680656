import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { after, before, beforeEach, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PodBouncer } from "../../agent/bounce/pod-bouncer.ts";
import { firstStatus, summarize } from "../../agent/certs/replica-status.ts";
import type { HeldCertificate } from "../../agent/certs/orders.ts";
import type { Istiod } from "../../agent/discover/istiod-deployment.ts";
import { createRootCa } from "../../common/pki/authority.ts";
import { certificateFacts } from "../../common/pki/certificate.ts";
import { KubeClient } from "../../common/kube/client.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { keyOf } from "../../common/session/resource-set.ts";
import {
  CertificateState,
  IssuedCertificate,
  PodBounceState,
  type PodBounceStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { temporaryFolder, type TemporaryFolder } from "../harness/folder.ts";
import { skipWithout } from "../harness/needs.ts";
import { eventually } from "../harness/wait.ts";
import { clientWithRights, type Rights } from "./agent-account.ts";
import { meshDeployment, PretendedKubelet, proxyContainer } from "./bounce-cluster.ts";

const CRDS = fileURLToPath(new URL("../../deploy/crds", import.meta.url));
const NAME = { namespace: "gloo-mesh", name: "istiod-istio-system-cluster-1" };
const ANNOTATION = "relay.mesh.gloo.solo.io/restart-requested-at";
const ISTIOD: Istiod = {
  ...{ namespace: "istio-system", name: "istiod", uid: "d1", podLabels: {} },
  ...{ version: "1", revision: "", serviceAccount: "istiod" },
};
const { POD_BOUNCE_STATE_FINISHED: FINISHED, POD_BOUNCE_STATE_FAILED: FAILED } = PodBounceState;

const DIRECTIVES = "podbouncedirectives";
const GROUP = "certificates.mesh.gloo.solo.io";
/** What docs and chart say restarts need. */
const RIGHTS: Rights = {
  everywhere: [
    { apiGroups: [""], resources: ["configmaps"], resourceNames: ["istio-ca-root-cert"], verbs: ["list", "watch"] },
    { apiGroups: [""], resources: ["pods"], verbs: ["list"] },
    { apiGroups: [""], resources: ["pods/eviction"], verbs: ["create"] },
    { apiGroups: ["apps"], resources: ["replicasets", "statefulsets", "daemonsets"], verbs: ["get"] },
    { apiGroups: [""], resources: ["replicationcontrollers"], verbs: ["get"] },
  ],
  inside: {
    "gloo-mesh": [
      { apiGroups: [GROUP], resources: [DIRECTIVES], verbs: ["list", "watch", "create", "patch"] },
      { apiGroups: [GROUP], resources: [`${DIRECTIVES}/status`], verbs: ["patch"] },
    ],
  },
};

async function root(commonName: string) {
  const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const nowMs = Date.now();
  const ca = await createRootCa({ subject: { commonName }, key, notBeforeMs: nowMs, notAfterMs: nowMs + 864e5 });
  return { pem: ca.pem, sha256: certificateFacts(ca).sha256Fingerprint };
}

suite("real api server, restarts of pods", { skip: skipWithout([...API_SERVER_TOOLS]) }, () => {
  let api: ApiServer;
  let folder: TemporaryFolder;
  let admin: KubeClient;
  let kubelet: PretendedKubelet;
  let accounts = 0;
  before(async () => {
    folder = await temporaryFolder();
    api = await startApiServer();
    admin = KubeClient.open(api.kubeconfig);
    kubelet = new PretendedKubelet(admin, AbortSignal.timeout(600_000));
    await api.kubectl(["apply", "-f", CRDS]);
    await api.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
    await api.createServiceAccount("gloo-mesh", "default");
  });
  after(async () => {
    admin.close();
    await api[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await api.kubectl(["delete", DIRECTIVES, "--all", "--namespace", "gloo-mesh"]);
    await api.kubectl(["delete", "namespace", "app", "istio-system", "--ignore-not-found"]);
    for (const namespace of ["app", "istio-system"]) await api.createServiceAccount(namespace, "default");
  });

  /** istiod writes its root into every namespace. */
  async function give(pem: string, ...namespaces: string[]): Promise<void> {
    const configMaps = namespaces.map((namespace) => ({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { namespace, name: "istio-ca-root-cert" },
      data: { "root-cert.pem": pem },
    }));
    await api.apply(...configMaps);
  }

  async function bounce({ automatic = true, sha256 }: { automatic?: boolean; sha256: string }, rights = RIGHTS) {
    const client = await clientWithRights({ api, folder }, `bouncer-${(accounts += 1)}`, rights);
    const installation = { namespace: "istio-system", deployment: "istiod", serviceAccounts: [] };
    const certificate = IssuedCertificate.fromPartial({ name: NAME, installation, autoRestartPods: automatic });
    const held: HeldCertificate = { certificate, version: Buffer.alloc(32), detached: false };
    const pod = { podName: "istiod-1", podNamespace: "istio-system", podUid: "i", serviceAccount: "istiod" };
    const state = CertificateState.CERTIFICATE_STATE_FINISHED;
    const replica = { ...firstStatus({ ...pod, expiresAtMs: 0 }), state, rootSha256: Buffer.from(sha256, "hex") };
    const bounces = new Latest<ReadonlyMap<string, PodBounceStatus>>();
    const bouncer = new PodBouncer({
      ...{ client, namespace: "gloo-mesh", clock: systemClock, random: Math.random, log: silentLog },
      certificates: new Latest<readonly HeldCertificate[]>([held]),
      certificateStatuses: new Latest([summarize({ ...held, name: NAME }, [replica])]),
      istiods: new Latest<readonly Istiod[]>([ISTIOD]),
      bounces,
    });
    const stop = new AbortController();
    const running = bouncer.run(stop.signal);
    return {
      status: () => bounces.value?.get(keyOf(NAME)),
      async [Symbol.asyncDispose]() {
        stop.abort();
        await running;
        client.close();
      },
    };
  }

  /** Plays kubelet until the status is as wanted, and keeps the order in which new pods came. */
  async function playUntil(
    { status }: { status: () => PodBounceStatus | undefined },
    accept: (status: PodBounceStatus) => boolean,
    but: readonly string[] = [],
  ): Promise<PodBounceStatus> {
    return eventually("restart of pods", async () => {
      await kubelet.round(but);
      const now = status();
      return now && accept(now) ? now : undefined;
    });
  }

  const uids = async (app: string): Promise<string[]> =>
    (await kubelet.pods())
      .filter(({ metadata }) => metadata.labels?.["app"] === app && !metadata.deletionTimestamp)
      .map(({ metadata }) => metadata.uid)
      .sort();

  async function settled(...apps: (readonly [string, number])[]): Promise<void> {
    await eventually("pods", async () => {
      await kubelet.round();
      for (const [app, count] of apps) if ((await uids(app)).length !== count) return false;
      return true;
    });
    // Pods and ConfigMaps have times of whole seconds: the next one makes them differ.
    await eventually("the next second", async () => Date.now() % 1000 < 100, { intervalMs: 20 });
  }

  const directive = async () =>
    JSON.parse(await api.kubectl(["get", DIRECTIVES, NAME.name, "-n", "gloo-mesh", "-o", "json"])) as {
      metadata: { generation: number };
      spec: { rootSha256?: string; restartRequestedAt?: string; podsToBounce: { namespace: string }[] };
      status: { state: string; message: string; podsBounced: { bouncedPods: string[] }[]; unmanaged: string[] };
    };

  const bare = (name: string) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "app", name, labels: { app: name } },
    spec: { containers: [proxyContainer()] },
  });
  const job = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { namespace: "app", name: "job" },
    spec: {
      template: {
        metadata: { labels: { app: "job" } },
        spec: { restartPolicy: "Never", containers: [proxyContainer()] },
      },
    },
  };

  test("real restarts - at adoption: gateways, then workloads one by one; bare pods, Jobs and pods without a proxy stay; then nothing more", async () => {
    const [old, fresh] = [await root("old"), await root("new")];
    await give(old.pem, "app", "istio-system");
    const plain = meshDeployment({ namespace: "app", name: "plain" }) as {
      spec: { template: { spec: { containers: object[] } } };
    };
    plain.spec.template.spec.containers = [{ name: "app", image: "app:1" }];
    await api.apply(
      meshDeployment({ namespace: "app", name: "web", replicas: 2 }),
      meshDeployment({ namespace: "istio-system", name: "gateway", isGateway: true }),
      ...[bare("bare"), job, plain],
    );
    await settled(["web", 2], ["gateway", 1], ["bare", 1], ["job", 1], ["plain", 1]);
    const apps = ["web", "gateway", "bare", "job", "plain"];
    const first = new Map(await Promise.all(apps.map(async (app) => [app, await uids(app)] as const)));
    await using bouncer = await bounce({ sha256: fresh.sha256 });
    const waiting = await playUntil(bouncer, ({ message }) => message.includes("has not the root yet"));
    assert.match(waiting.message, /traffic between restarted and unrestarted pods fails meanwhile/);
    assert.deepEqual(await uids("web"), first.get("web"));
    await give(fresh.pem, "app", "istio-system");
    // The gateway's replacement is not Ready: no workload is touched.
    await playUntil(bouncer, ({ restarted, message }) => restarted === 1 && message.includes("0 of 1 pods"), [
      "gateway",
    ]);
    assert.notDeepEqual(await uids("gateway"), first.get("gateway"));
    assert.deepEqual(await uids("web"), first.get("web"));
    const end = await playUntil(bouncer, ({ state }) => state === FINISHED);
    assert.deepEqual([end.restarted, end.remaining], [3, 0]);
    const jobPod = end.unmanaged.find((name) => name.startsWith("app/job-"));
    assert.deepEqual(end.unmanaged, ["app/bare", jobPod]);
    const last = new Map(await Promise.all(apps.map(async (app) => [app, await uids(app)] as const)));
    for (const app of ["bare", "job", "plain"]) assert.deepEqual(last.get(app), first.get(app), app);
    for (const app of ["web", "gateway"]) {
      assert.equal(last.get(app)?.filter((uid) => first.get(app)?.includes(uid)).length, 0, app);
    }
    const stored = await directive();
    assert.deepEqual([stored.spec.rootSha256, stored.status.state], [fresh.sha256, "FINISHED"]);
    assert.deepEqual(
      stored.spec.podsToBounce.map(({ namespace }) => namespace),
      ["istio-system", "app"],
    );
    assert.deepEqual(
      stored.status.podsBounced.map(({ bouncedPods }) => bouncedPods.length),
      [1, 2],
    );
    await api.kubectl(["wait", "--for=condition=Finished", DIRECTIVES, NAME.name, "-n", "gloo-mesh", "--timeout=10s"]);
    // A renewal under the same root, by another program, while somebody touches the ConfigMap.
    await api.kubectl(["label", "configmap", "istio-ca-root-cert", "-n", "app", "touched=yes"]);
    await using again = await bounce({ sha256: fresh.sha256 });
    await playUntil(again, ({ state }) => state === FINISHED);
    await api.apply(bare("later"));
    await settled(["later", 1]);
    assert.deepEqual(await uids("web"), last.get("web"));
    assert.equal((await directive()).metadata.generation, stored.metadata.generation);
  });

  test("real restarts - a PodDisruptionBudget is respected and named, and another program takes the work up", async () => {
    const fresh = await root("new");
    await api.apply(meshDeployment({ namespace: "app", name: "web", replicas: 2 }), {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { namespace: "app", name: "keep-two" },
      spec: { minAvailable: 2, selector: { matchLabels: { app: "web" } } },
    });
    await settled(["web", 2]);
    const budget = async (text: string): Promise<void> => {
      const place = ["poddisruptionbudget", "keep-two", "--namespace", "app"];
      await eventually("budget", async () =>
        (
          await api.kubectl(["get", ...place, "-o", "jsonpath={.status.currentHealthy}/{.status.disruptionsAllowed}"])
        ).includes(text),
      );
    };
    await budget("2/0");
    const first = await uids("web");
    await give(fresh.pem, "app", "istio-system");
    {
      await using bouncer = await bounce({ sha256: fresh.sha256 });
      const blocked = await playUntil(bouncer, ({ message }) => message.includes("disruption budget"));
      assert.match(blocked.message, /app\/Deployment\/web: .*disruption budget.*keep-two/s);
      assert.deepEqual(await uids("web"), first);
      await api.kubectl([
        "patch",
        "poddisruptionbudget",
        "keep-two",
        "-n",
        "app",
        "--patch",
        '{"spec":{"minAvailable":1}}',
      ]);
      await budget("2/1");
      await playUntil(bouncer, ({ restarted }) => restarted === 1, ["web"]);
    }
    // The first one died between two pods; the second has nothing but what the API server holds.
    const halfway = await uids("web");
    assert.equal(halfway.filter((uid) => first.includes(uid)).length, 1);
    await using bouncer = await bounce({ sha256: fresh.sha256 });
    const end = await playUntil(bouncer, ({ state }) => state === FINISHED);
    assert.equal(end.restarted, 2);
    const last = await uids("web");
    assert.equal(last.filter((uid) => first.includes(uid)).length, 0);
    assert.equal(last.filter((uid) => halfway.includes(uid)).length, 1, "the replacement is not restarted again");
  });

  test("real restarts - autoRestartPods false restarts nothing, and meshctl's annotation does it by hand, once", async () => {
    const fresh = await root("new");
    await api.apply(meshDeployment({ namespace: "app", name: "web", replicas: 1 }));
    await settled(["web", 1]);
    await give(fresh.pem, "app", "istio-system");
    const first = await uids("web");
    await using bouncer = await bounce({ automatic: false, sha256: fresh.sha256 });
    await settled(["web", 1]);
    await settled(["web", 1]);
    assert.deepEqual([bouncer.status(), await uids("web")], [undefined, first]);
    const ask = (at: string): Promise<void> =>
      api.apply({
        ...{ apiVersion: `${GROUP}/v1`, kind: "PodBounceDirective", spec: {} },
        metadata: { ...NAME, annotations: { [ANNOTATION]: at } },
      });
    // A clock that is an hour ahead must not make every replacement old.
    const asked = new Date(Date.now() + 3_600_000).toISOString();
    await ask(asked);
    const end = await playUntil(bouncer, ({ state }) => state === FINISHED);
    assert.equal(end.restarted, 1);
    const second = await uids("web");
    assert.notDeepEqual(second, first);
    await settled(["web", 1]);
    await settled(["web", 1]);
    await settled(["web", 1]);
    assert.deepEqual(await uids("web"), second);
    assert.equal((await directive()).spec.restartRequestedAt, asked);
  });

  test("real restarts - a missing right is told at once and in the API server's words", async () => {
    const fresh = await root("new");
    await api.apply(meshDeployment({ namespace: "app", name: "web", replicas: 1 }));
    await settled(["web", 1]);
    await give(fresh.pem, "app", "istio-system");
    const everywhere = RIGHTS.everywhere?.filter(({ resources }) => !resources.includes("pods/eviction")) ?? [];
    await using bouncer = await bounce({ sha256: fresh.sha256 }, { ...RIGHTS, everywhere });
    const failed = await playUntil(bouncer, ({ state }) => state === FAILED);
    assert.match(failed.message, /cannot create resource "pods\/eviction"/);
    const blind = RIGHTS.everywhere?.filter(({ resources }) => !resources.includes("configmaps")) ?? [];
    await using other = await bounce({ sha256: fresh.sha256 }, { ...RIGHTS, everywhere: blind });
    const unsynced = await playUntil(other, ({ state }) => state === FAILED);
    assert.match(unsynced.message, /configmaps is forbidden|cannot list resource "configmaps"/);
  });
});
