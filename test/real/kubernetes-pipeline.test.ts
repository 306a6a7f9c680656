import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it, before, after } from "node:test";
import { fileURLToPath } from "node:url";
import type { Mesh } from "../../common/api/discovery.ts";
import type { VirtualMesh } from "../../common/api/virtual-mesh.ts";
import type { MeshesStatus } from "../../server/admin/services.ts";
import { viewIntent } from "../../server/relay/views.ts";
import { LocalSessions } from "../../server/store/local-sessions.ts";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { temporaryFolder, type TemporaryFolder } from "../harness/folder.ts";
import { skipWithout } from "../harness/needs.ts";
import { eventually } from "../harness/wait.ts";
import { serverKubeconfig } from "./server-account.ts";
import { FakeAgent, ServerReplica } from "./server-replica.ts";

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
/** Most probes start a kubectl. */
const until = <T>(what: string, probe: () => Promise<T | undefined | false>): Promise<T> =>
  eventually(what, probe, { intervalMs: 200 });
const IN_NAMESPACE = ["--namespace", "gloo-mesh"] as const;
const meshName = (number: number): string => `istiod-istio-system-cluster-${number}`;

/** Two replicas on one API server, the first of which leads, and the agent of one cluster at each. */
class Setting implements AsyncDisposable {
  readonly api: ApiServer;
  readonly agents = [new FakeAgent("cluster-1"), new FakeAgent("cluster-2")] as const;
  readonly #kubeconfig: string;
  #epoch = 0n;
  readonly #sessions = new LocalSessions({ next: async () => ++this.#epoch });
  #replicas: ServerReplica[] = [];
  readonly #resources: AsyncDisposableStack;

  private constructor(api: ApiServer, kubeconfig: string, resources: AsyncDisposableStack) {
    this.api = api;
    this.#kubeconfig = kubeconfig;
    this.#resources = resources;
  }

  static async open(): Promise<Setting> {
    await using stack = new AsyncDisposableStack();
    const folder: TemporaryFolder = stack.use(await temporaryFolder());
    const api = stack.use(await startApiServer());
    await api.kubectl(["apply", "-f", path("deploy/crds")]);
    await api.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
    const kubeconfig = await serverKubeconfig(api, folder);
    for (const number of [1, 2]) await api.kubectl(["apply", "-f", path(`examples/kubernetes-cluster-${number}.yaml`)]);
    return new Setting(api, kubeconfig, stack.move());
  }

  replica(index: number): ServerReplica {
    return this.#replicas[index] ?? assert.fail(`no replica ${index}`);
  }

  /** Ends all replicas, as a power failure would, and starts two that know nothing. */
  async restart(leader = 0): Promise<void> {
    await this.stop();
    for (let count = 0; count < 2; count++) {
      this.#replicas.push(await ServerReplica.start(this.#kubeconfig, this.#sessions));
    }
    this.replica(leader).lead();
    for (const [index, agent] of this.agents.entries()) await this.connect(agent, index);
  }

  async connect(agent: FakeAgent, index: number): Promise<void> {
    const { hub, pipeline } = this.replica(index);
    await until("a replica that serves", async () => pipeline.notReady().length === 0);
    agent.connect(hub);
    await until("a session", async () => hub.agents.isConnected(agent.cluster));
  }

  async kill(index: number): Promise<void> {
    const [killed] = this.#replicas.splice(index, 1);
    await killed?.[Symbol.asyncDispose]();
  }

  async stop(): Promise<void> {
    for (const agent of this.agents) await agent.leave();
    while (this.#replicas.length > 0) await this.kill(0);
  }

  async get<T>(kind: string, name: string): Promise<T | undefined> {
    const text = await this.api.kubectl(["get", kind, name, ...IN_NAMESPACE, "-o", "json", "--ignore-not-found"]);
    return text === "" ? undefined : (JSON.parse(text) as T);
  }

  mesh(number: number): Promise<Mesh | undefined> {
    return this.get<Mesh>("mesh", meshName(number));
  }

  untilMesh(what: string, number: number, accept: (mesh: Mesh) => boolean): Promise<Mesh> {
    return until(what, async () => {
      const mesh = await this.mesh(number);
      return mesh && accept(mesh) ? mesh : undefined;
    });
  }

  wait(condition: string, virtualMesh = "virtual-mesh"): Promise<string> {
    const target = [`virtualmesh/${virtualMesh}`, ...IN_NAMESPACE];
    return this.api.kubectl(["wait", `--for=condition=${condition}`, ...target, "--timeout=60s"]);
  }

  async applyVirtualMesh(change: (text: string) => string = (text) => text): Promise<void> {
    const text = await readFile(path("examples/virtual-mesh.yaml"), "utf8");
    await this.api.kubectl(["apply", "-f", "-"], change(text));
  }

  /** What each replica tells, once they tell the same and it is what was waited for. */
  toldBy(what: string, accept: (told: MeshesStatus) => boolean): Promise<MeshesStatus> {
    return until(what, async () => {
      const all = this.#replicas.map(({ pipeline }) => pipeline.statuses.value);
      const [first] = all;
      if (!first || !accept(first)) return undefined;
      for (const other of all) if (!other || JSON.stringify(other) !== JSON.stringify(first)) return undefined;
      return first;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#resources.disposeAsync();
  }
}

const condition = (object: Mesh | VirtualMesh | undefined, type: string) =>
  object?.status?.conditions?.find((each) => each.type === type);

/** The story of one management cluster; each part goes on where the one before ended. */
describe("real kubernetes pipeline", { skip: skipWithout(API_SERVER_TOOLS) }, () => {
  let setting: Setting;

  before(async () => {
    setting = await Setting.open();
    await setting.restart();
  });
  after(async () => {
    await setting[Symbol.asyncDispose]();
  });

  it("discovery - what the agents report stands in Meshes, with names and labels of the reference", async () => {
    for (const agent of setting.agents) agent.discover();
    const mesh = await setting.untilMesh("a discovered mesh", 1, (each) => condition(each, "Discovered") !== undefined);
    await setting.untilMesh("the other", 2, (each) => each.spec.istio !== undefined);
    assert.deepEqual(mesh.metadata.labels, {
      "cluster.discovery.mesh.gloo.solo.io": "cluster-1",
      "owner.discovery.mesh.gloo.solo.io": "gloo-mesh",
    });
    const { installation } = mesh.spec.istio ?? {};
    assert.deepEqual([installation?.cluster, installation?.deployment], ["cluster-1", "istiod"]);
    assert.equal(condition(mesh, "Discovered")?.status, "True");
  });

  it("intent - the guide's VirtualMesh reaches both agents, each at another replica, and becomes Ready when they say so", async () => {
    await setting.applyVirtualMesh();
    for (const agent of setting.agents) {
      await until("an order", async () => agent.held.size === 1);
      agent.report();
    }
    await setting.wait("Ready");
    const virtualMesh = await setting.get<VirtualMesh>("virtualmesh", "virtual-mesh");
    assert.deepEqual([virtualMesh?.status?.state, virtualMesh?.status?.observedGeneration], ["ACCEPTED", 1]);
    const mesh = await setting.mesh(1);
    const { appliedVirtualMesh: applied, issuedCertificate: issued } = mesh?.status ?? {};
    assert.deepEqual(
      [applied?.ref?.name, applied?.observedGeneration, applied?.acceptanceOrder],
      ["virtual-mesh", 1, 1],
    );
    assert.deepEqual(applied?.spec, virtualMesh?.spec);
    assert.deepEqual([issued?.state, issued?.notAfter], ["FINISHED", "2030-01-01T00:00:00.000Z"]);
    assert.equal(issued?.acknowledgedVersion, [...setting.agents[0].held.values()][0]?.version);
    const table = await setting.api.kubectl(["get", "virtualmesh", ...IN_NAMESPACE]);
    assert.match(table, /virtual-mesh +ACCEPTED +True +True +True +2 of 2 meshes issued, 2 seen to sign/);
    assert.match(
      await setting.api.kubectl(["get", "mesh", ...IN_NAMESPACE]),
      /cluster-1 +cluster-1 +1\.27\.0 +virtual-mesh +FINISHED +2030/,
    );
    const name = { namespace: "gloo-mesh", name: mesh?.metadata.name ?? "" };
    const virtualMeshName = { namespace: "gloo-mesh", name: "virtual-mesh" };
    for (const { pipeline, intents } of [setting.replica(0), setting.replica(1)]) {
      const known = await until("the mesh is known", async () => [...pipeline.meshes("cluster-1")].at(0));
      assert.deepEqual(known, { mesh: name, virtualMesh: virtualMeshName, generation: 1n, lack: "" });
      // Whoever holds the session, each tells what the agent holds.
      await until("what is held is told", async () => {
        const { resources, surplus } = viewIntent(intents.get("cluster-1"), pipeline.answers?.("cluster-1"));
        return resources.length === 1 && surplus.length === 0 && resources[0]?.acknowledged === true;
      });
    }
    const told = await setting.toldBy("both the same", ({ virtualMeshes }) => virtualMeshes[0]?.clusters.length === 2);
    assert.deepEqual(told.virtualMeshes[0]?.status, virtualMesh?.status);
    assert.deepEqual(
      told.virtualMeshes[0]?.clusters.map(({ cluster, connected, applied: isApplied }) => [
        cluster,
        connected,
        isApplied,
      ]),
      [
        ["cluster-1", true, true],
        ["cluster-2", true, true],
      ],
    );
  });

  it("events - the VirtualMesh and the Meshes tell what happened to them", async () => {
    const told = await until("events", async () => {
      const columns = "custom-columns=KIND:.regarding.kind,REASON:.reason,TYPE:.type";
      const table = await setting.api.kubectl([
        "get",
        "events.events.k8s.io",
        ...IN_NAMESPACE,
        "--no-headers",
        "-o",
        columns,
      ]);
      const lines = new Set(
        table
          .trim()
          .split("\n")
          .map((line) => line.replace(/ +/g, " ").trim()),
      );
      return lines.has("VirtualMesh Ready Normal") && lines.has("Mesh CertificateIssued Normal") ? lines : undefined;
    });
    assert.ok(told.has("VirtualMesh Accepted Normal"), [...told].join());
    assert.ok(![...told].some((line) => line.endsWith("Warning")), [...told].join());
  });

  it("intent - any replica tells what an agent holds, whoever holds its session", async () => {
    const [key] = setting.agents[0].held.keys();
    const version = setting.agents[0].held.get(key ?? "")?.version;
    for (const index of [0, 1]) {
      const { pipeline, intents } = setting.replica(index);
      assert.equal(pipeline.answers?.("cluster-1").held?.get(key ?? ""), version);
      assert.equal(intents.get("cluster-1").resources.get(key ?? "")?.version, version);
    }
  });

  it("status - autoRestartPods says what it costs, and a Ready of an old generation is not waited for", async () => {
    const virtualMesh = await setting.get<VirtualMesh>("virtualmesh", "virtual-mesh");
    assert.equal(condition(virtualMesh, "AutoRestartPods")?.reason, "Pending");
    const warnings = virtualMesh?.status?.meshes?.[`${meshName(1)}.gloo-mesh.`]?.warnings?.join() ?? "";
    assert.match(warnings, /traffic between restarted and unrestarted pods fails meanwhile/);
    // Of the same version for both clusters: what is ready is ready under the new generation as soon as it is judged.
    await setting.applyVirtualMesh((text) => text.replace("autoRestartPods: true", "autoRestartPods: false"));
    await setting.wait("Ready=false");
    const edited = await setting.get<VirtualMesh>("virtualmesh", "virtual-mesh");
    assert.equal(condition(edited, "Ready")?.observedGeneration, 2);
    for (const agent of setting.agents) {
      await until("the new order", async () => [...agent.held.values()][0]?.certificate.autoRestartPods === false);
      agent.report();
    }
    await setting.wait("Ready");
    assert.equal(
      condition(await setting.get<VirtualMesh>("virtualmesh", "virtual-mesh"), "AutoRestartPods"),
      undefined,
    );
  });

  it("leader - killed, another replica folds on; an agent that moves is served and told from there", async () => {
    await setting.kill(0);
    const [first, second] = setting.agents;
    await first.leave();
    setting.replica(0).lead();
    second.report({ message: "vault is sealed" });
    await setting.wait("Ready=false");
    const pushes = first.pushes.length;
    await setting.connect(first, 0);
    second.report();
    await setting.wait("Ready");
    assert.equal(first.pushes.length, pushes, "it held everything already");
    const { issuedCertificate: issued } = (await setting.mesh(1))?.status ?? {};
    assert.equal(issued?.state, "FINISHED");
  });

  it("last good - a broken edit changes nothing below, not even after a restart of all replicas", async () => {
    await setting.applyVirtualMesh((text) => text.replace("pki/root/", "pki/../root/"));
    await setting.wait("Accepted=false");
    const pushes = setting.agents.map((agent) => agent.pushes.length);
    await setting.restart(1);
    await setting.toldBy("the old intent", ({ virtualMeshes }) =>
      (virtualMeshes[0]?.clusters ?? []).every(({ connected, applied }) => connected && applied),
    );
    const virtualMesh = await setting.get<VirtualMesh>("virtualmesh", "virtual-mesh");
    assert.deepEqual([virtualMesh?.status?.state, virtualMesh?.status?.observedGeneration], ["INVALID", 3]);
    assert.match(condition(virtualMesh, "Accepted")?.message ?? "", /generation 2 stays in force/);
    assert.deepEqual(
      setting.agents.map((agent) => agent.pushes.length),
      pushes,
    );
    await setting.applyVirtualMesh();
    for (const agent of setting.agents) {
      await until("the mended order", async () => [...agent.held.values()][0]?.certificate.autoRestartPods === true);
      agent.report();
    }
    await setting.wait("Ready");
  });

  it("removal - a mesh that is taken out is removed by name, and told until it was acknowledged", async () => {
    const { api, agents } = setting;
    const only = [{ op: "replace", path: "/spec/meshes", value: [{ name: meshName(1), namespace: "gloo-mesh" }] }];
    const target = ["virtualmesh", "virtual-mesh", ...IN_NAMESPACE, "--type=json"];
    await api.kubectl(["patch", ...target, "-p", JSON.stringify(only)]);
    await until("the removal", async () => agents[1].removed.length === 1);
    assert.deepEqual(agents[1].removed, [meshName(2)]);
    const over = await setting.untilMesh("its end", 2, ({ status }) => !status?.removal && !status?.appliedVirtualMesh);
    assert.equal(condition(over, "Detached"), undefined);
    assert.deepEqual(agents[0].removed, []);
    await setting.wait("Ready");
    await setting.applyVirtualMesh();
    await until("the order again", async () => agents[1].held.size === 1);
    agents[1].report();
    await setting.wait("Ready");
  });

  it("Mesh - deleted by hand it is written again, one made by hand is left alone, and nothing is removed below", async () => {
    const { api, agents } = setting;
    const pushes = agents[0].pushes.length;
    const uid = (await setting.mesh(1))?.metadata.uid;
    await api.kubectl(["delete", "mesh", meshName(1), ...IN_NAMESPACE]);
    await setting.untilMesh("it again", 1, ({ metadata, status }) => {
      return metadata.uid !== uid && status?.appliedVirtualMesh !== undefined && status.issuedCertificate !== undefined;
    });
    await setting.wait("Ready");
    assert.equal(agents[0].pushes.length, pushes);
    const byHand = { metadata: { name: "canary-istio-system-cluster-1", namespace: "gloo-mesh" }, spec: {} };
    await api.apply({ apiVersion: "discovery.mesh.gloo.solo.io/v1", kind: "Mesh", ...byHand });
    agents[0].discover([{}, { deployment: "canary" }, { deployment: "other" }]);
    await until("another mesh", async () => setting.get<Mesh>("mesh", "other-istio-system-cluster-1"));
    const kept = await setting.get<Mesh>("mesh", byHand.metadata.name);
    assert.deepEqual([kept?.spec, kept?.metadata.labels], [{}, undefined]);
    // Cluster "1" spells the name of cluster-1's Mesh.
    const rogue = new FakeAgent("1");
    await setting.connect(rogue, 1);
    rogue.discover([{ namespace: "istio-system-cluster", trustDomain: "evil" }, { namespace: "own" }]);
    await until("the rogue's own mesh", async () => setting.get<Mesh>("mesh", "istiod-own-1"));
    assert.equal((await setting.mesh(1))?.spec.istio?.trustDomain, undefined);
    rogue.discover([]);
    await until("its end", async () => !(await setting.get<Mesh>("mesh", "istiod-own-1")));
    assert.ok(await setting.mesh(1));
    await rogue.leave();
  });

  it("discovery - what is not reported any more goes when nobody uses it, and stays with a condition when somebody does", async () => {
    setting.agents[0].discover([]);
    await until("the end of the other", async () => !(await setting.get<Mesh>("mesh", "other-istio-system-cluster-1")));
    const mesh = await setting.untilMesh("the mark", 1, (each) => condition(each, "Discovered")?.status === "False");
    assert.equal(mesh.status?.appliedVirtualMesh?.ref?.name, "virtual-mesh");
    setting.agents[0].discover();
    await setting.untilMesh("its return", 1, (each) => condition(each, "Discovered")?.status === "True");
  });

  it("discovery - the Meshes of a cluster that is not registered any more go, though no agent says so", async () => {
    const { api } = setting;
    const cluster = { apiVersion: "multicluster.solo.io/v1alpha1", kind: "KubernetesCluster" };
    await api.apply({ ...cluster, metadata: { namespace: "gloo-mesh", name: "cluster-3" }, spec: {} });
    const leaving = new FakeAgent("cluster-3");
    await setting.connect(leaving, 0);
    leaving.discover();
    await setting.untilMesh("its mesh", 3, ({ spec }) => spec.istio !== undefined);
    await leaving.leave();
    await api.kubectl(["delete", "kubernetescluster", "cluster-3", ...IN_NAMESPACE]);
    await until("the end of its mesh", async () => !(await setting.mesh(3)));
    assert.ok(await setting.mesh(1));
  });

  it("Detached - a VirtualMesh that is deleted leaves everything in force, and both replicas say so", async () => {
    const { api, agents } = setting;
    const pushes = agents.map((agent) => agent.pushes.length);
    const removed = agents.map((agent) => agent.removed.length);
    await api.kubectl(["delete", "virtualmesh", "virtual-mesh", ...IN_NAMESPACE]);
    const isDetached = (each: Mesh): boolean => condition(each, "Detached") !== undefined;
    const mesh = await setting.untilMesh("the condition", 1, isDetached);
    await setting.untilMesh("the other's", 2, isDetached);
    assert.equal(condition(mesh, "Detached")?.reason, "VirtualMeshMissing");
    assert.ok(mesh.status?.appliedVirtualMesh);
    const since = condition(mesh, "Detached")?.lastTransitionTime ?? "";
    const told = await setting.toldBy("missing", ({ virtualMeshes }) =>
      JSON.stringify(virtualMeshes[0]?.status).includes(since),
    );
    assert.equal(told.virtualMeshes[0]?.status?.["state"], "FAILED");
    assert.match(JSON.stringify(told.virtualMeshes[0].status), /missing from its source/);
    assert.ok(agents.every((agent) => agent.held.size === 1));
    assert.deepEqual(
      agents.map((agent) => agent.removed.length),
      removed,
    );
    await setting.restart();
    await setting.toldBy(
      "the same after a restart",
      ({ virtualMeshes }) => JSON.stringify(virtualMeshes[0]?.status) === JSON.stringify(told.virtualMeshes[0]?.status),
    );
    await setting.applyVirtualMesh();
    await setting.wait("Ready");
    await setting.untilMesh("no condition any more", 1, (each) => condition(each, "Detached") === undefined);
    assert.deepEqual(
      agents.map((agent) => agent.pushes.length),
      pushes,
      "the same order as before",
    );
  });

  it("Detached - a management cluster that was restored empty takes nothing from the agents", async () => {
    const { api, agents } = setting;
    await setting.stop();
    await api.kubectl(["delete", "virtualmesh,mesh", "--all", ...IN_NAMESPACE]);
    await setting.restart();
    for (const agent of agents) agent.discover();
    await setting.untilMesh("the mesh again", 1, ({ spec }) => spec.istio !== undefined);
    // As the real agent does with what is absent from a whole set.
    agents[0].report({ detached: true });
    const mesh = await setting.untilMesh("the condition", 1, (each) => condition(each, "Detached") !== undefined);
    assert.equal(condition(mesh, "Detached")?.reason, "NothingApplied");
    assert.deepEqual([agents[0].removed, agents[0].held.size], [[], 1]);
    await setting.applyVirtualMesh();
    for (const agent of agents) await until("managed again", async () => agent.held.size === 1);
    for (const agent of agents) agent.report();
    await setting.wait("Ready");
  });
});
