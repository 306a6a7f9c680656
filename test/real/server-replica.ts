import { KubeClient } from "../../common/kube/client.ts";
import { EventRecorder } from "../../common/kube/events.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { runTasks, type Tasks } from "../../common/runtime/tasks.ts";
import type { Send } from "../../common/session/handlers.ts";
import { digestOf, ISSUED_CERTIFICATE, keyOf, versionOf } from "../../common/session/resource-set.ts";
import {
  CertificateState,
  IssuedCertificate,
  IssuedCertificateStatus,
  ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import { DiscoveredMesh } from "../../proto/gen/discovery/v1/discovery.ts";
import {
  ConnectResponse,
  ResourceOutcome,
  Status,
  type ConnectRequest,
  type Push,
} from "../../proto/gen/relay/v1/relay.ts";
import type { SessionStore } from "../../server/identity/session-store.ts";
import { Hub } from "../../server/relay/hub.ts";
import { IntentBook } from "../../server/relay/intent-book.ts";
import type { Outgoing } from "../../server/relay/session.ts";
import { StatusBook } from "../../server/relay/status-book.ts";
import { ClusterObjects } from "../../server/store/cluster-objects.ts";
import { openKubernetesPipeline } from "../../server/store/kubernetes-pipeline.ts";
import type { Pipeline } from "../../server/store/pipeline.ts";

interface ReplicaParts {
  readonly hub: Hub;
  readonly pipeline: Pipeline;
  readonly intents: IntentBook;
  readonly client: KubeClient;
  readonly tasks: Tasks;
}

/** One replica of the server's pipeline, in this process, on a real API server. Sessions are known to all replicas. */
export class ServerReplica implements AsyncDisposable {
  readonly hub: Hub;
  readonly pipeline: Pipeline;
  readonly intents: IntentBook;
  readonly #client: KubeClient;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #leading: { readonly stop: AbortController; readonly running: Promise<unknown> } | undefined;

  private constructor(parts: ReplicaParts) {
    this.hub = parts.hub;
    this.pipeline = parts.pipeline;
    this.intents = parts.intents;
    this.#client = parts.client;
    const { pipeline, hub, tasks } = parts;
    this.#running = runTasks(this.#stop.signal, { ...pipeline.tasks, ...tasks, hub: (stop) => hub.run(stop) });
  }

  static async start(kubeconfig: string, sessions: SessionStore): Promise<ServerReplica> {
    const client = KubeClient.open(kubeconfig);
    const stop = new AbortController().signal;
    const common = { client, namespace: "gloo-mesh", clock: systemClock, random: Math.random, log: silentLog, stop };
    const clusters = new ClusterObjects(common);
    const events = new EventRecorder({ ...common, program: "enterprise-networking", replica: "test" });
    const context = { ...common, clusters, events };
    const intents = new IntentBook();
    const reports = new StatusBook();
    const hub = new Hub({
      ...context,
      intents,
      statuses: reports,
      notReady: () => pipeline.notReady(),
      isServed: () => true,
      sessions,
      onSessionChange: (cluster) => pipeline.sessionChanged(cluster),
      // These agents say nothing unasked.
      heartbeatMs: 3_600_000,
    });
    const cluster = () => undefined;
    const pipeline = await openKubernetesPipeline(context, {
      ...context,
      intents,
      reports,
      sessions,
      agents: hub.agents,
      cluster,
    });
    sessions.onChange((name) => pipeline.clusterChanged(name));
    const tasks: Tasks = {
      clusters: (signal) => clusters.run(signal),
      events: (signal) => events.run(signal),
    };
    return new ServerReplica({ hub, pipeline, intents, client, tasks });
  }

  lead(): void {
    const stop = new AbortController();
    const tasks = Object.entries(this.pipeline.leaderTasks);
    const running = Promise.all(tasks.map(([, task]) => task(stop.signal, 0)));
    this.#leading = { stop, running };
  }

  /** As if the process were killed: whatever it was about to write stays unwritten. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    this.#leading?.stop.abort();
    this.#stop.abort();
    await this.#leading?.running.catch(() => undefined);
    await this.#running;
  }
}

/** An agent without a network: it takes what it is sent and says what it is told to. Its memory outlives its sessions. */
export class FakeAgent {
  readonly cluster: string;
  /** Version and content of what it holds, by key. */
  readonly held = new Map<string, { readonly version: string; readonly certificate: IssuedCertificate }>();
  /** Names of what it was told to remove. */
  readonly removed: string[] = [];
  readonly pushes: Push[] = [];
  readonly #inbox: ConnectRequest["message"][] = [];
  readonly #changed = new Latest<number>(0);
  #call: AbortController | undefined;
  ended: Promise<MeshError | undefined> = Promise.resolve(undefined);
  readonly #root: Buffer;
  /** What it found last: it is told again in each session. */
  #found: readonly Partial<DiscoveredMesh>[] | undefined;

  constructor(cluster: string, root = 0xaa) {
    this.cluster = cluster;
    this.#root = Buffer.alloc(32, root);
  }

  connect(hub: Hub): void {
    this.#inbox.length = 0;
    this.#call = new AbortController();
    const hello = { agentVersion: "1", instanceId: "i", capabilities: [] };
    this.#send({ $case: "hello", value: { ...hello, held: [{ type: ISSUED_CERTIFICATE, digest: this.#digest() }] } });
    const now = (message: Outgoing): boolean => {
      const { message: body } = Buffer.isBuffer(message) ? ConnectResponse.decode(message) : message;
      if (body?.$case === "push") this.#take(body.value);
      return true;
    };
    const send: Send<Outgoing> = Object.assign(async (message: Outgoing) => void now(message), {
      now,
      onDrain: () => undefined,
    });
    const identity = { kind: "cluster", name: this.cluster } as const;
    const peer = { identity, serial: "1", fingerprint: "f", notAfterMs: 9e12 };
    const principal = { cluster: this.cluster, peer };
    const call = { principal, peer: "127.0.0.1:1", signal: this.#call.signal };
    this.ended = hub.connect(this.#requests(this.#call.signal), send, call).then(
      () => undefined,
      (error: unknown) => MeshError.from(error),
    );
    this.report({ whole: true });
    if (this.#found) this.discover(this.#found);
  }

  async leave(): Promise<void> {
    this.#call?.abort(new MeshError("canceled", "gone"));
    await this.ended;
  }

  /** Tells that its istiod signs with what it holds, or what is said instead. */
  report(told: { whole?: boolean; detached?: boolean; message?: string } = {}): void {
    const { whole = false, detached = false, message } = told;
    const FINISHED = CertificateState.CERTIFICATE_STATE_FINISHED;
    const FAILED = CertificateState.CERTIFICATE_STATE_FAILED;
    const state = message === undefined ? FINISHED : FAILED;
    const certificates = [...this.held.values()].map(({ version, certificate }) => {
      const replica = ReplicaStatus.create({
        ...{ podName: "istiod-1", podNamespace: "istio-system", podUid: "u", serial: "01", connected: true, state },
        ...{ rootSha256: this.#root, notBefore: new Date(1_000), notAfter: new Date("2030-01-01T00:00:00Z") },
        ...(message !== undefined && { error: { code: "vault_sealed", message, hint: "" } }),
      });
      return IssuedCertificateStatus.create({
        ...{
          name: certificate.name,
          observedVersion: Buffer.from(version, "hex"),
          state,
          replicas: [replica],
          detached,
        },
      });
    });
    this.#send({ $case: "status", value: Status.create({ certificates, whole }) });
  }

  /** Tells what it found in its cluster: one istiod, unless told otherwise. */
  discover(meshes: readonly Partial<DiscoveredMesh>[] = [{}]): void {
    this.#found = meshes;
    const istiod = { namespace: "istio-system", deployment: "istiod", serviceAccount: "istiod", version: "1.27.0" };
    const found = meshes.map((each) => DiscoveredMesh.create({ ...istiod, agentNamespace: "gloo-mesh", ...each }));
    this.#send({ $case: "status", value: Status.create({ discovery: { meshes: found } }) });
  }

  #take(push: Push): void {
    this.pushes.push(push);
    for (const { name, content } of push.upserts) {
      const certificate = IssuedCertificate.decode(content);
      if (name) this.held.set(keyOf(name), { version: versionOf(content), certificate });
    }
    for (const name of push.removals) {
      this.removed.push(name.name);
      this.held.delete(keyOf(name));
    }
    const results = push.upserts.map(({ name }) => {
      const outcome = ResourceOutcome.RESOURCE_OUTCOME_APPLIED;
      return { name, outcome, code: "", message: "", retriable: false, heldVersion: Buffer.alloc(0) };
    });
    const { type, id } = push;
    this.#send({ $case: "result", value: { type, id, held: this.#digest(), wantWholeSet: false, results } });
  }

  #digest(): Buffer {
    if (this.held.size === 0 && this.pushes.length === 0) return Buffer.alloc(0);
    return digestOf(new Map([...this.held].map(([key, { version }]) => [key, version])));
  }

  #send(message: NonNullable<ConnectRequest["message"]>): void {
    this.#inbox.push(message);
    this.#changed.set((this.#changed.value ?? 0) + 1);
  }

  async *#requests(signal: AbortSignal): AsyncGenerator<ConnectRequest> {
    for await (const _ of this.#changed.watch(signal)) {
      while (this.#inbox.length > 0) yield { message: this.#inbox.shift() };
    }
  }
}
