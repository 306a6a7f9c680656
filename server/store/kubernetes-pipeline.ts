import type { EventRecorder } from "../../common/kube/events.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { keyOf } from "../../common/session/resource-set.ts";
import { runTasks, type Tasks } from "../../common/runtime/tasks.ts";
import type { MeshesStatus } from "../admin/services.ts";
import { DiscoveryRoom } from "../discovery/discovery-room.ts";
import { appliedIntent } from "../intent/applied.ts";
import { IntentLeader } from "../intent/intent-leader.ts";
import { knownMeshes } from "../intent/known-meshes.ts";
import type { KnownMesh } from "../../proto/gen/admin/v1/admin.ts";
import type { AgentAnswers } from "../relay/views.ts";
import { certificateEvents, type Happening, virtualMeshEvents } from "../status/events.ts";
import type { ClusterKnowledge } from "../status/facts.ts";
import { MeshReports } from "../status/mesh-reports.ts";
import { servedStatus } from "../status/served.ts";
import { SessionRoom } from "../status/session-room.ts";
import { StatusLeader } from "../status/status-leader.ts";
import { MeshTranslator } from "../translate/mesh-translator.ts";
import { certificateName } from "../translate/translate.ts";
import { KubernetesSource, type KubernetesSourceOptions } from "./kubernetes-source.ts";
import type { LeaderTask } from "./leadership.ts";
import type { Pipeline, PipelineDeps } from "./pipeline.ts";
import type { World } from "./world.ts";

/** What the way through an API server needs of it. */
export interface PipelineContext extends KubernetesSourceOptions {
  readonly events: Pick<EventRecorder, "record">;
}

/** Changes this close together become one answer. */
const QUIET_MS = 20;

/**
 * From the VirtualMeshes of an API server to the agents, and from the agents to their status. Replicas hand each other
 * nothing: the leader writes what applies into the Meshes, the replica with the session what its agent says, and each
 * reads both there.
 */
export async function openKubernetesPipeline(context: PipelineContext, deps: PipelineDeps): Promise<Pipeline> {
  return new KubernetesPipeline(context, deps);
}

class KubernetesPipeline implements Pipeline {
  readonly statuses = new Latest<MeshesStatus>();
  readonly tasks: Tasks;
  readonly leaderTasks: Readonly<Record<string, LeaderTask>>;
  readonly #context: PipelineContext;
  readonly #source: KubernetesSource;
  readonly #translator: MeshTranslator;
  /** Worlds of which the translator has made what agents get. */
  readonly #translated = new Latest<World>();
  readonly #clusterChanges = new Latest<number>(0);
  readonly #clusters: ClusterKnowledge;
  readonly #sessions: SessionRoom;

  constructor(context: PipelineContext, deps: PipelineDeps) {
    const { namespace } = context;
    const { intents, reports, sessions, agents } = deps;
    this.#context = context;
    this.#source = new KubernetesSource(context);
    this.#translator = new MeshTranslator({ intents, namespace });
    this.#clusters = {
      isConnected: (cluster) => sessions.isConnected(cluster),
      isRevoked: (cluster) => deps.cluster(cluster)?.state === "REVOKED",
    };
    const epochOf = (cluster: string): bigint | undefined => {
      const epoch = agents.live(cluster)?.epoch;
      return epoch !== undefined && (sessions.get(cluster)?.epoch ?? epoch) <= epoch ? epoch : undefined;
    };
    const common = { ...context, worlds: this.#translated, epochOf };
    this.#sessions = new SessionRoom({
      ...common,
      translator: this.#translator,
      reports,
      agents,
      onWritten: (mesh, now) => this.#tell(mesh, certificateEvents(mesh.status?.issuedCertificate, now)),
    });
    const discovery = new DiscoveryRoom(common);
    reports.onDiscovery((cluster, found) => discovery.take(cluster, found));
    this.tasks = {
      source: (stop) => this.#source.run(stop),
      translate: (stop) => this.#translate(stop),
      "session status": (stop) => this.#sessions.run(stop),
      discovery: (stop) => discovery.run(stop),
      status: (stop) => this.#serve(stop),
    };
    this.leaderTasks = { intent: (stop) => this.#lead(stop) };
  }

  readonly notReady = (): readonly string[] => (this.#translated.value ? [] : ["the api server has not been read yet"]);

  readonly sessionChanged = (cluster: string): void => this.#sessions.sessionChanged(cluster);

  readonly clusterChanged = (): void => this.#clusterChanges.set((this.#clusterChanges.value ?? 0) + 1);

  readonly answers = (cluster: string): AgentAnswers => {
    const held = new Map<string, string>();
    const parked = new Map<string, { readonly message: string }>();
    for (const meshKey of this.#translator.meshesOf(cluster)) {
      const mesh = this.#translated.value?.meshes.get(meshKey);
      const { acknowledgedVersion, rejected, rejectedVersion } = mesh?.status?.issuedCertificate ?? {};
      const key = mesh && keyOf(certificateName(mesh));
      if (key === undefined) continue;
      if (acknowledgedVersion !== undefined) held.set(key, acknowledgedVersion);
      if (rejected !== undefined && rejectedVersion === this.#translator.version(meshKey)) {
        parked.set(key, { message: rejected });
      }
    }
    return { held: this.#clusters.isConnected(cluster) ? held : undefined, parked };
  };

  readonly meshes = (cluster: string): Iterable<KnownMesh> => {
    const all = this.#translated.value?.meshes;
    const own = [...this.#translator.meshesOf(cluster)].flatMap((key) => all?.get(key) ?? []);
    return knownMeshes(
      cluster,
      own,
      own.flatMap((mesh) => appliedIntent(mesh) ?? []),
    );
  };

  #tell(regarding: KubeObject, happened: readonly Happening[]): void {
    for (const each of happened) this.#context.events.record({ regarding, ...each });
  }

  async #translate(signal: AbortSignal): Promise<void> {
    for await (const world of this.#source.worlds.watch(signal)) {
      await this.#translator.take(world.meshes);
      this.#translated.set(world);
    }
  }

  /** One leader for each term: it decides of what stands in the objects, as any other would. */
  async #lead(signal: AbortSignal): Promise<void> {
    const { namespace } = this.#context;
    const intent = new IntentLeader({ ...this.#context, worlds: this.#source.worlds });
    const status = new StatusLeader({
      ...this.#context,
      namespace,
      judged: intent.judged,
      clusterChanges: this.#clusterChanges,
      clusters: this.#clusters,
      onWritten: (virtualMesh, now) => this.#tell(virtualMesh, virtualMeshEvents(virtualMesh.status, now)),
    });
    await runTasks(signal, { intent: (stop) => intent.run(stop), status: (stop) => status.run(stop) });
  }

  async #serve(signal: AbortSignal): Promise<void> {
    const known = new MeshReports({ clusters: this.#clusters, namespace: this.#context.namespace });
    const dirty = new Latest<number>(0);
    const follow = (cell: Latest<unknown>) => async (stop: AbortSignal) => {
      for await (const _ of cell.watch(stop)) dirty.set((dirty.value ?? 0) + 1);
    };
    const publish = async (stop: AbortSignal): Promise<void> => {
      for await (const _ of dirty.watch(stop)) {
        await this.#context.clock.sleep(QUIET_MS, stop).catch(() => undefined);
        if (this.#translated.value) this.statuses.set(servedStatus(this.#translated.value, known));
      }
    };
    await runTasks(signal, {
      worlds: follow(this.#translated),
      clusters: follow(this.#clusterChanges),
      publish,
    });
  }
}
