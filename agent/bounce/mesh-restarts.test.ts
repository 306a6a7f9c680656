import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CertificateState, type IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { keyOf } from "../../common/session/resource-set.ts";
import { firstStatus, summarize } from "../certs/replica-status.ts";
import type { HeldCertificate } from "../certs/orders.ts";
import type { Istiod } from "../discover/istiod-deployment.ts";
import type { BounceReport } from "./directive.ts";
import { ClusterModel, type Workload } from "./cluster-model.ts";
import { MeshRestarts } from "./mesh-restarts.ts";
import type { NamespaceRoot } from "./namespace-root.ts";
import type { PodFacts } from "./pod.ts";
import { atOnce } from "./progress.ts";

const NAME = { namespace: "gloo-mesh", name: "mesh-1" };
const KEY = keyOf(NAME);
const NEW = "bb".repeat(32);
const START_MS = Date.parse("2026-01-01T12:00:00Z");
const ISTIOD: Istiod = {
  ...{ namespace: "istio-system", name: "istiod", uid: "d1", podLabels: {} },
  ...{ version: "1", revision: "", serviceAccount: "istiod" },
};

function certificate(autoRestartPods: boolean): HeldCertificate {
  const installation = { namespace: "istio-system", deployment: "istiod", serviceAccounts: [] };
  const common = { mesh: undefined, virtualMesh: undefined, hosts: [], options: undefined };
  return {
    certificate: { name: NAME, ...common, installation, certificateAuthority: undefined, autoRestartPods },
    version: Buffer.alloc(32),
    detached: false,
  };
}

function proved(root: string): IssuedCertificateStatus {
  const pod = {
    podName: "istiod-1",
    podNamespace: "istio-system",
    podUid: "i1",
    serviceAccount: "istiod",
    expiresAtMs: 0,
  };
  const state = CertificateState.CERTIFICATE_STATE_FINISHED;
  const replica = { ...firstStatus(pod), state, rootSha256: Buffer.from(root, "hex") };
  return summarize({ name: NAME, version: Buffer.alloc(32), detached: false }, [replica]);
}

interface Setup {
  readonly workloads: readonly Workload[];
  readonly automatic?: boolean;
}

/** A cluster whose istiod has taken a new root at the beginning, as at adoption. */
class Adoption {
  readonly clock = new ManualClock(START_MS);
  readonly cluster: ClusterModel;
  readonly roots = new Map<string, NamespaceRoot>();
  automatic: boolean;
  root = NEW;
  restarts: MeshRestarts;

  constructor({ workloads, automatic = true }: Setup) {
    this.cluster = new ClusterModel(this.clock, workloads);
    this.automatic = automatic;
    for (const { namespace } of workloads) this.give(namespace);
    this.give("bare");
    this.restarts = this.restart();
  }

  /** The namespace gets the root. */
  give(namespace: string, root = this.root): void {
    const sinceMs = Math.floor(this.clock.now() / 1000) * 1000;
    this.roots.set(namespace, { namespace, roots: [root], sinceMs });
  }

  /** Another program takes up the work. */
  restart(): MeshRestarts {
    const common = { clock: this.clock, log: silentLog };
    return (this.restarts = new MeshRestarts({
      namespace: "gloo-mesh",
      access: this.cluster,
      store: this.cluster,
      ...common,
    }));
  }

  async look(): Promise<BounceReport | undefined> {
    const view = {
      held: [certificate(this.automatic)],
      statuses: [proved(this.root)],
      directives: [...this.cluster.directives.values()],
      roots: this.roots,
      istiods: [ISTIOD],
    };
    const { reports } = await this.restarts.look(view, new AbortController().signal);
    return reports.get(KEY);
  }

  async step(ms = 2_000): Promise<BounceReport | undefined> {
    const report = await this.look();
    this.clock.advance(ms);
    this.cluster.reconcile();
    return report;
  }

  async untilState(state: BounceReport["state"], steps = 500): Promise<BounceReport> {
    for (let step = 0; step < steps; step += 1) {
      const report = await this.step();
      if (report?.state === state) return report;
    }
    throw new Error(`not ${state} after ${steps} steps: ${this.cluster.history.slice(-3).join(" | ")}`);
  }

  async idle(steps: number): Promise<void> {
    for (let step = 0; step < steps; step += 1) await this.step();
  }
}

const web: Workload = { namespace: "app", kind: "StatefulSet", name: "web", replicas: 2 };
const gateway: Workload = { namespace: "istio-system", kind: "ReplicaSet", name: "gw", replicas: 1, isGateway: true };

test("pod bouncer - at adoption gateways are restarted, then workloads, and what it costs is said before the first", async () => {
  const adoption = new Adoption({ workloads: [web, gateway] });
  const end = await adoption.untilState("FINISHED");
  const { history, evicted } = adoption.cluster;
  assert.deepEqual(
    evicted.map(({ name }) => name),
    ["gw-3", "web-1", "web-2"],
  );
  const first = history.findIndex((line) => line.startsWith("evict"));
  assert.match(
    history.slice(0, first).join("\n"),
    /PENDING the root changed to b{16}…: 1 pod of gateways, then 2 pods will be restarted; traffic between restarted and unrestarted pods fails meanwhile/,
  );
  assert.deepEqual([end.restarted, end.remaining, end.message], [3, 0, "3 pods restarted"]);
  const directive = adoption.cluster.directives.get(NAME.name);
  assert.equal(directive?.spec.rootSha256, NEW);
  assert.deepEqual(
    directive.spec.podsToBounce?.map(({ namespace, labels }) => [namespace, labels?.["app"]]),
    [
      ["istio-system", "gw"],
      ["app", "web"],
    ],
  );
  assert.deepEqual(directive.status?.podsBounced, [{ bouncedPods: ["gw-3"] }, { bouncedPods: ["web-1", "web-2"] }]);
});

test("pod bouncer - under the same root nothing is restarted, whatever becomes of ConfigMaps, pods and programs", async () => {
  const adoption = new Adoption({ workloads: [web] });
  await adoption.untilState("FINISHED");
  const { evicted } = adoption.cluster;
  const count = evicted.length;
  adoption.give("app");
  adoption.restart();
  assert.equal((await adoption.look())?.state, "FINISHED");
  await adoption.idle(20);
  adoption.automatic = false;
  await adoption.idle(5);
  adoption.automatic = true;
  adoption.give("app");
  await adoption.idle(20);
  assert.equal(evicted.length, count);
});

test("pod bouncer - with autoRestartPods false nothing is restarted, and also not when it is turned off on the way", async () => {
  const adoption = new Adoption({ workloads: [web], automatic: false });
  assert.equal(await adoption.look(), undefined);
  await adoption.idle(10);
  assert.deepEqual([adoption.cluster.evicted.length, adoption.cluster.directives.size], [0, 0]);
  adoption.automatic = true;
  await adoption.untilState("BOUNCING_PODS");
  adoption.automatic = false;
  const after = await adoption.look();
  const count = adoption.cluster.evicted.length;
  await adoption.idle(20);
  assert.deepEqual([after?.state, after?.message], ["PENDING", "no restart is asked for"]);
  assert.deepEqual([adoption.cluster.evicted.length, count], [1, 1]);
  adoption.automatic = true;
  assert.equal((await adoption.untilState("FINISHED")).restarted, 2);
});

test("pod bouncer - a root that was left without restarts counts as changed when it comes again", async () => {
  const adoption = new Adoption({ workloads: [web] });
  await adoption.untilState("FINISHED");
  adoption.automatic = false;
  const before = adoption.root;
  adoption.root = "cc".repeat(32);
  await adoption.idle(3);
  adoption.root = before;
  adoption.give("app");
  adoption.automatic = true;
  await adoption.idle(3);
  await adoption.untilState("FINISHED");
  assert.equal(adoption.cluster.evicted.length, 4);
});

test("pod bouncer - pods wait for the root of their namespace; gateways that wait hold the workloads back", async () => {
  const adoption = new Adoption({ workloads: [web, gateway] });
  adoption.roots.delete("istio-system");
  await adoption.idle(10);
  assert.equal(adoption.cluster.evicted.length, 0);
  const waiting = await adoption.step();
  assert.deepEqual([waiting?.state, waiting?.remaining], ["PENDING", 3]);
  assert.match(waiting?.message ?? "", /waits for istio-system: its ConfigMap istio-ca-root-cert has not the root yet/);
  adoption.give("istio-system", "aa".repeat(32));
  await adoption.idle(10);
  assert.equal(adoption.cluster.evicted.length, 0);
  adoption.give("istio-system");
  await adoption.untilState("FINISHED");
  assert.equal(adoption.cluster.evicted[0]?.namespace, "istio-system");
  const directive = adoption.cluster.directives.get(NAME.name);
  assert.deepEqual(
    directive?.spec.podsToBounce?.map(({ namespace }) => namespace),
    ["istio-system", "app"],
  );
  assert.deepEqual(
    directive.status?.podsBounced?.map(({ bouncedPods }) => bouncedPods?.length),
    [1, 2],
  );
});

test("pod bouncer - a budget that blocks is waited for and named, and holds up no other controller", async () => {
  const blocked = { ...web, name: "blocked", blockedUntilMs: START_MS + 300_000 };
  const adoption = new Adoption({ workloads: [blocked, { ...web, name: "z" }] });
  await adoption.idle(60);
  assert.deepEqual(
    adoption.cluster.evicted.map(({ labels }) => labels["app"]),
    ["z", "z"],
  );
  const waiting = await adoption.step();
  assert.deepEqual([waiting?.state, waiting?.remaining], ["BOUNCING_PODS", 2]);
  assert.match(waiting?.message ?? "", /waits for app\/StatefulSet\/blocked: the disruption budget b allows none/);
  await adoption.untilState("FINISHED");
  assert.equal(adoption.cluster.evicted.length, 4);
});

test("pod bouncer - replacements that do not come up stop the rest, and after 10 min it says so and goes on trying", async () => {
  const names = Array.from({ length: atOnce(1) + 5 }, (_, index) => `w${index + 10}`);
  const broken = names.map((name) => ({ ...web, name, replicas: 2, readyAfterMs: Infinity }));
  const adoption = new Adoption({ workloads: broken });
  const failed = await adoption.untilState("FAILED");
  assert.match(failed.message, /came no further for 10 min.*1 of 2 pods are ready/);
  assert.equal(adoption.cluster.evicted.length, atOnce(names.length));
  assert.equal(adoption.cluster.directives.get(NAME.name)?.status?.error, failed.message);
});

test("pod bouncer - a restart asked for by hand takes pods older than that, under the same root too, once", async () => {
  const adoption = new Adoption({ workloads: [web], automatic: false });
  adoption.give("app");
  const ask = (): void => {
    const askedMs = adoption.clock.now() + 123;
    const request = { askedMs, cutoffMs: Math.floor(adoption.clock.now() / 1000) * 1000 };
    const known = adoption.cluster.directives.get(NAME.name);
    const fresh = { ...NAME, generation: 1, spec: {}, status: undefined };
    adoption.cluster.directives.set(NAME.name, { ...(known ?? fresh), request });
  };
  for (const [round, automatic] of [false, true].entries()) {
    adoption.automatic = automatic;
    ask();
    await adoption.idle(2);
    await adoption.untilState("FINISHED");
    await adoption.idle(20);
    assert.equal(adoption.cluster.evicted.length, 2 * (round + 1));
  }
  assert.match(adoption.cluster.history.join("\n"), /a restart was asked for at .*may fail meanwhile/);
});

test("pod bouncer - a directive that was deleted on the way is made again", async () => {
  const adoption = new Adoption({ workloads: [web] });
  await adoption.untilState("BOUNCING_PODS");
  adoption.cluster.directives.clear();
  await adoption.untilState("FINISHED");
  assert.equal(adoption.cluster.evicted.length, 2);
});

const workload: fc.Arbitrary<Workload> = fc.record({
  namespace: fc.constantFrom("a", "b", "c"),
  kind: fc.constantFrom("ReplicaSet", "StatefulSet", "DaemonSet"),
  name: fc.constantFrom("u", "v", "w", "x", "y", "z"),
  replicas: fc.integer({ min: 1, max: 4 }),
  isGateway: fc.boolean(),
  readyAfterMs: fc.constantFrom(100, 3_000, 9_000),
  // The last one is younger than the moment that the root came.
  ageMs: fc.constantFrom(3_600_000, 1_000, 0, -1_000),
  blockedUntilMs: fc.constantFrom(0, START_MS + 30_000),
});

interface Story {
  readonly workloads: Workload[];
  readonly bare: (readonly [name: string, kind: string | undefined])[];
  /** Namespace that gets the root later. */
  readonly late: string;
  /** Steps after which the program is another one. */
  readonly crashes: number[];
  readonly stepMs: number;
}

const story: fc.Arbitrary<Story> = fc.record({
  workloads: fc.uniqueArray(workload, {
    maxLength: 14,
    selector: ({ namespace, kind, name }) => `${namespace}/${kind}/${name}`,
  }),
  bare: fc.array(fc.tuple(fc.constantFrom("bare-1", "bare-2"), fc.constantFrom(undefined, "Job")), { maxLength: 2 }),
  late: fc.constantFrom("a", "b", "none"),
  crashes: fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 4 }),
  stepMs: fc.constantFrom(100, 700, 2_000),
});

test("pod bouncer - in any cluster, with any crashes: in order, one per controller, none twice, none that nobody replaces", async () => {
  const check = async ({ workloads, bare, late, crashes, stepMs }: Story): Promise<void> => {
    const adoption = new Adoption({ workloads });
    const { cluster, roots } = adoption;
    for (const [name, kind] of bare) cluster.addBare("bare", name, kind);
    const first = new Map(cluster.pods.map((pod) => [pod.uid, pod]));
    roots.delete(late);
    for (let step = 0, seen = 0; step < 3_000; step += 1) {
      if (step === 12) adoption.give(late);
      if (crashes.includes(step)) adoption.restart();
      const before = cluster.pods;
      const report = await adoption.step(stepMs);
      const evicted = cluster.evicted.slice(seen);
      seen = cluster.evicted.length;
      const controllers = evicted.map(({ controller }) => controller?.uid);
      assert.equal(new Set(controllers).size, evicted.length, "one per controller");
      const isOld = ({ namespace, uid, createdMs }: PodFacts): boolean =>
        first.has(uid) && createdMs <= (roots.get(namespace)?.sinceMs ?? Infinity);
      const gateways = before.filter((pod) => pod.proxy?.isGateway && isOld(pod));
      for (const pod of evicted) {
        assert.ok(isOld(pod) && pod.namespace !== "bare", `${pod.name} is old and managed`);
        const others = before.filter(
          ({ controller, uid }) => controller?.uid === pod.controller?.uid && uid !== pod.uid,
        );
        assert.ok(
          others.every(({ ready, terminating }) => ready && !terminating),
          "the others are ready",
        );
        assert.ok(pod.proxy?.isGateway || gateways.length === 0, "gateways first");
        assert.ok(roots.get(pod.namespace)?.roots.includes(NEW), "its namespace has the root");
      }
      if (report?.state === "FINISHED") break;
    }
    const status = cluster.directives.get(NAME.name)?.status;
    assert.equal(status?.state, "FINISHED", cluster.history.slice(-2).join("\n"));
    const due = [...first.values()].filter(
      ({ namespace, createdMs }) => namespace !== "bare" && createdMs <= (roots.get(namespace)?.sinceMs ?? 0),
    );
    assert.deepEqual(cluster.evicted.map(({ uid }) => uid).sort(), due.map(({ uid }) => uid).sort());
    assert.deepEqual(status.unmanaged, bare.map(([name]) => `bare/${name}`).sort());
  };
  await fc.assert(fc.asyncProperty(story, check), { numRuns: 200 });
});

test("pod bouncer - ten thousand pods are listed whole once for all steps, and few controllers are under way at a time", async () => {
  const workloads = Array.from({ length: 500 }, (_, index) => ({ ...web, name: `w${index}`, replicas: 20 }));
  const adoption = new Adoption({ workloads });
  for (let step = 0; step < 40; step += 1) {
    const before = adoption.cluster.evicted.length;
    await adoption.step();
    assert.ok(adoption.cluster.evicted.length - before <= 25);
  }
  assert.ok(adoption.cluster.evicted.length > 15 * 25);
  assert.equal(adoption.cluster.scans, 1);
});
