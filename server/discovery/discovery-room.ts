import { isDeepStrictEqual } from "node:util";
import type { Mesh, MeshSpec } from "../../common/api/discovery.ts";
import { definitionOf } from "../../common/api/schema.ts";
import { apply } from "../../common/kube/apply.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import { createObject, deleteObject } from "../../common/kube/objects.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { PacedWork } from "../../common/runtime/paced-work.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import type { Discovery } from "../../proto/gen/discovery/v1/discovery.ts";
import { StatusWriter } from "../status/status-writer.ts";
import type { World } from "../store/world.ts";
import { type Found, readDiscovery } from "./discovered-mesh.ts";
import { CLUSTER_LABEL, discoveredConditions, discoveryLabels, planDiscovery } from "./plan.ts";

const MESH = definitionOf("discovery.mesh.gloo.solo.io/v1", "Mesh");
const MANAGER = "enterprise-networking-discovery";
/** Rest between two writes of one cluster's Meshes: an agent that reports in a loop costs no more than that. */
const SPACING_MS = 1_000;

export interface DiscoveryRoomOptions {
  readonly client: KubeClient;
  /** The server's own, which is that of the Meshes. */
  readonly namespace: string;
  readonly worlds: Latest<World>;
  /** Epoch of the session that this replica holds with the cluster, while no newer one is known; undefined without. */
  readonly epochOf: (cluster: string) => bigint | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

interface Report {
  readonly epoch: bigint;
  readonly found: Found;
}

/**
 * Writes what the agents with a session here found as Meshes. A report is good as long as its session. A Mesh that was
 * deleted or changed by hand is written again.
 */
export class DiscoveryRoom {
  readonly #options: DiscoveryRoomOptions;
  readonly #reports = new Map<string, Report>();
  readonly #marks: StatusWriter;
  readonly #paced: PacedWork;
  /** What was applied last, and what came of it: a field that somebody else added is no reason to apply it again. */
  readonly #applied = new Map<string, { readonly spec: MeshSpec; readonly generation: number | undefined }>();
  /** What was said of a cluster last, so that it is not said again. */
  readonly #said = new Map<string, string>();

  constructor(options: DiscoveryRoomOptions) {
    this.#options = options;
    this.#marks = new StatusWriter({ client: options.client, manager: MANAGER });
    const { clock, random, log } = options;
    this.#paced = new PacedWork({
      work: (cluster, signal) => this.#write(cluster, signal),
      onFailure: (cluster, err) => log.warn("discovered meshes cannot be written", { cluster, err }),
      spacingMs: SPACING_MS,
      clock,
      random,
    });
  }

  /** Takes a report of the cluster's session. Which cluster it is comes from the certificate, never from the report. */
  take(cluster: string, discovery: Discovery): void {
    const epoch = this.#options.epochOf(cluster);
    if (epoch === undefined) return;
    const { value: world } = this.#options.worlds;
    const clusters = world ? [...registeredClusters(world)] : [];
    this.#reports.set(cluster, { epoch, found: readDiscovery(discovery, { cluster, clusters }) });
    this.#paced.touch(cluster);
  }

  /** Writes until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    await runTasks(signal, { follow: (stop) => this.#follow(stop), write: (stop) => this.#paced.run(stop) });
  }

  async #follow(signal: AbortSignal): Promise<void> {
    let before: World["meshes"] = new Map();
    for await (const world of this.#options.worlds.watch(signal)) {
      const registered = registeredClusters(world);
      for (const cluster of changedClusters(before, world.meshes)) {
        if (this.#reports.has(cluster)) this.#paced.touch(cluster);
      }
      for (const { metadata } of world.meshes.values()) {
        const cluster = metadata.labels?.[CLUSTER_LABEL];
        if (cluster !== undefined && !registered.has(cluster)) this.#paced.touch(cluster);
      }
      before = world.meshes;
    }
  }

  async #write(cluster: string, signal: AbortSignal): Promise<void> {
    const { worlds, epochOf, namespace } = this.#options;
    const report = this.#reports.get(cluster);
    const world = worlds.value;
    if (!world) return;
    if (report && report.epoch !== epochOf(cluster)) this.#reports.delete(cluster);
    const found = this.#reports.get(cluster)?.found ?? (registeredClusters(world).has(cluster) ? undefined : NOTHING);
    if (!found) return;
    const inNamespace = [...world.meshes.values()].filter(({ metadata }) => metadata.namespace === namespace);
    const meshes = new Map(inNamespace.map((mesh) => [mesh.metadata.name, mesh]));
    const plan = planDiscovery({ cluster, namespace, found, meshes });
    this.#say(cluster, [...found.refused, ...plan.refused]);
    for (const { name, spec } of plan.create) await this.#create(cluster, { name, spec }, signal);
    for (const { mesh, spec } of plan.update) {
      const { name, generation } = mesh.metadata;
      if (!isDeepStrictEqual(this.#applied.get(name), { spec, generation })) {
        await this.#apply(cluster, mesh.metadata, spec, signal);
      }
    }
    for (const { mesh, isFound } of plan.mark) await this.#mark(cluster, mesh, { isFound, signal });
    for (const mesh of plan.remove) await this.#remove(cluster, mesh, signal);
  }

  /** Made empty, so that no one who comes to the same name can be overwritten; then the spec is applied to it. */
  async #create(cluster: string, { name, spec }: { name: string; spec: MeshSpec }, signal: AbortSignal): Promise<void> {
    const { client, namespace, log } = this.#options;
    const metadata = { name, namespace, labels: discoveryLabels(cluster, namespace) };
    const writing = { type: MESH, object: { metadata, spec: {} }, fieldManager: MANAGER };
    const made = await unlessChanged(createObject(client, writing, signal));
    if (!made) return;
    log.info("mesh discovered", { cluster, mesh: name });
    await this.#apply(cluster, made.metadata, spec, signal);
  }

  async #apply(cluster: string, { name, uid }: Mesh["metadata"], spec: MeshSpec, signal: AbortSignal): Promise<void> {
    const { client, namespace } = this.#options;
    const labels = discoveryLabels(cluster, namespace);
    const metadata = { name, namespace, labels, ...(uid !== undefined && { uid }) };
    const application = { type: MESH, metadata, fields: { spec }, fieldManager: MANAGER, force: true } as const;
    const stored = await unlessChanged(apply(client, application, signal));
    if (stored) this.#applied.set(name, { spec, generation: stored.metadata.generation });
  }

  async #mark(
    cluster: string,
    mesh: Mesh,
    { isFound, signal }: { readonly isFound: boolean; readonly signal: AbortSignal },
  ): Promise<void> {
    const conditions = discoveredConditions(mesh, isFound, cluster, this.#options.clock.now());
    const isWritten = await this.#marks.write(mesh, { conditions }, signal);
    if (!isWritten || isFound) return;
    this.#options.log.warn("mesh is not reported any more; it stays, since it is used", {
      cluster,
      mesh: mesh.metadata.name,
    });
  }

  async #remove(cluster: string, mesh: Mesh, signal: AbortSignal): Promise<void> {
    const { client, log } = this.#options;
    await unlessChanged(deleteObject(client, MESH, mesh, signal));
    log.info("mesh is not reported any more, and nobody used it: removed", { cluster, mesh: mesh.metadata.name });
  }

  #say(cluster: string, refused: readonly string[]): void {
    const text = refused.join("; ");
    if (text === (this.#said.get(cluster) ?? "")) return;
    this.#said.set(cluster, text);
    if (text !== "") this.#options.log.warn("discovered mesh refused", { cluster, reason: text });
  }
}

/** Of a cluster that nobody registered, or not any more: no agent will ever say that its Meshes are gone. */
const NOTHING: Found = { specs: new Map(), refused: [] };

const registeredClusters = ({ kubernetesClusters }: World): Set<string> =>
  new Set([...kubernetesClusters.values()].map(({ metadata }) => metadata.name));

/** Clusters with a discovered Mesh that is new, changed or gone. */
function changedClusters(before: World["meshes"], now: World["meshes"]): Set<string> {
  const changed = [...now].filter(([key, mesh]) => before.get(key) !== mesh);
  const gone = [...before].filter(([key]) => !now.has(key));
  return new Set([...changed, ...gone].flatMap(([, { metadata }]) => metadata.labels?.[CLUSTER_LABEL] ?? []));
}

/** What was changed by somebody else meanwhile is left for the next look at it, which the watch brings about. */
async function unlessChanged<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (thrown) {
    if (["conflict", "not_found"].includes(MeshError.from(thrown).code)) return undefined;
    throw thrown;
  }
}
