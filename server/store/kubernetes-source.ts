import { refKey } from "../../common/api/meta.ts";
import type { ResourceDefinition } from "../../common/api/resources.ts";
import { definitionOf } from "../../common/api/schema.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import { Reflector } from "../../common/kube/reflector.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import type { ClusterObjects } from "./cluster-objects.ts";
import type { SourceFault } from "./source-directory.ts";
import { type World, WorldReader } from "./world.ts";

/** Changes this close together become one world: `kubectl apply` writes object by object. */
const QUIET_MS = 10;

const VIRTUAL_MESH = definitionOf("networking.mesh.gloo.solo.io/v1", "VirtualMesh");
const MESH = definitionOf("discovery.mesh.gloo.solo.io/v1", "Mesh");

export interface KubernetesSourceOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** The registered clusters, which others follow. */
  readonly clusters: Pick<ClusterObjects, "list" | "synced" | "onChange">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/**
 * Follows the VirtualMeshes and Meshes of one namespace, beside its KubernetesClusters. An object that is gone is absent, as a
 * file is: that removes nothing. One with a deletionTimestamp is being removed on purpose.
 */
export class KubernetesSource {
  /** Set once all three kinds were listed whole, then on each change. */
  readonly worlds = new Latest<World>();
  readonly #options: KubernetesSourceOptions;
  readonly #virtualMeshes: Reflector;
  readonly #meshes: Reflector;
  readonly #reader = new WorldReader();
  readonly #dirty = new Latest<number>(0);

  constructor(options: KubernetesSourceOptions) {
    this.#options = options;
    const { client, namespace, clock, random, log } = options;
    const reflect = (type: ResourceDefinition) => new Reflector({ client, namespace, clock, random, log, type });
    this.#virtualMeshes = reflect(VIRTUAL_MESH);
    this.#meshes = reflect(MESH);
  }

  /** Follows until `signal` is aborted. An API server that is away is waited for; it is a fault of the world. */
  async run(signal: AbortSignal): Promise<void> {
    const touch = (): void => this.#dirty.set((this.#dirty.value ?? 0) + 1);
    const follow = (cell: Latest<unknown>) => async (stop: AbortSignal) => {
      for await (const _ of cell.watch(stop)) touch();
    };
    const forget = this.#options.clusters.onChange(touch);
    const tasks = this.#reflectors.flatMap((reflector, index) => [
      [`reflector ${index}`, (stop: AbortSignal) => reflector.run(stop)] as const,
      [`objects ${index}`, follow(reflector.objects)] as const,
      [`faults ${index}`, follow(reflector.fault)] as const,
    ]);
    const synced = follow(this.#options.clusters.synced);
    try {
      await runTasks(signal, { ...Object.fromEntries(tasks), synced, publish: (stop) => this.#publish(stop) });
    } finally {
      forget();
    }
  }

  get #reflectors(): readonly Reflector[] {
    return [this.#virtualMeshes, this.#meshes];
  }

  async #publish(signal: AbortSignal): Promise<void> {
    const { clock, clusters } = this.#options;
    for await (const _ of this.#dirty.watch(signal)) {
      await clock.sleep(QUIET_MS, signal).catch(() => undefined);
      const [virtualMeshes, meshes] = [this.#virtualMeshes.objects.value, this.#meshes.objects.value];
      if (!virtualMeshes || !meshes || !clusters.synced.value) continue;
      const kubernetesClusters = new Map(clusters.list().map((each) => [refKey(each.metadata), each]));
      this.worlds.set(this.#reader.read({ virtualMeshes, meshes, kubernetesClusters }, this.#faults()));
    }
  }

  #faults(): SourceFault[] {
    const messages = this.#reflectors.flatMap(({ fault }) => fault.value?.message ?? []);
    return messages.map((message) => ({ file: "api server", message: `${message}; what was read last stands` }));
  }
}
