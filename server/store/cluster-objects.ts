import type { KubernetesCluster, KubernetesClusterStatus } from "../../common/api/discovery.ts";
import { refKey } from "../../common/api/meta.ts";
import { findDefinition } from "../../common/api/schema.ts";
import { createObject, readObject, replaceObject } from "../../common/kube/objects.ts";
import { Reflector } from "../../common/kube/reflector.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import type { ApiServerContext } from "./kubernetes-context.ts";
import { SeenObjects } from "./seen-objects.ts";

/** The status after the change; undefined to leave it. `cluster` is undefined where there is no such object. */
export type StatusChange = (
  cluster: KubernetesCluster | undefined,
) => KubernetesClusterStatus | undefined | Promise<KubernetesClusterStatus | undefined>;

/** Where a change starts: at what this replica has heard, which is often enough the newest, or at what is stored. */
export type StartFrom = "heard" | "stored";

const ATTEMPTS = 12;
const CONFLICT_PAUSE_MS = 100;
const FIELD_MANAGER = "enterprise-networking";
const TYPE = clusterType();

function clusterType() {
  const definition = findDefinition("multicluster.solo.io/v1alpha1", "KubernetesCluster");
  if (!definition) throw new MeshError("internal", "no schema of KubernetesCluster");
  return definition;
}

/** The KubernetesCluster objects of the API server, with what this replica read and wrote itself known at once. */
export class ClusterObjects {
  readonly #context: ApiServerContext;
  readonly #reflector: Reflector;
  readonly #seen: SeenObjects;
  readonly #listeners = new Set<(name: string) => void>();
  /** The change under way of each cluster: two of this process need not fight over the version. */
  readonly #changing = new Map<string, Promise<unknown>>();
  #heard: ReadonlyMap<string, KubeObject> = new Map();

  constructor(context: ApiServerContext) {
    this.#context = context;
    this.#reflector = new Reflector({ ...context, type: TYPE });
    this.#seen = new SeenObjects(context.clock);
  }

  /** Set once all were listed and are known here. */
  readonly synced = new Latest<true>();

  /** True once all were listed. */
  get isSynced(): boolean {
    return this.synced.value ?? false;
  }

  get(name: string): KubernetesCluster | undefined {
    const key = this.#keyOf(name);
    return this.#seen.newest(key, this.#heard.get(key)) as KubernetesCluster | undefined;
  }

  /** In no order. */
  *values(): Iterable<KubernetesCluster> {
    for (const { metadata } of this.#heard.values()) {
      const cluster = this.get(metadata.name);
      if (cluster) yield cluster;
    }
    for (const { metadata } of this.#seen.values()) {
      const isHeard = this.#heard.has(this.#keyOf(metadata.name));
      const cluster = isHeard ? undefined : this.get(metadata.name);
      if (cluster) yield cluster;
    }
  }

  /** In order of name. */
  list(): KubernetesCluster[] {
    return [...this.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  /** Calls `listener` with the name after each change. Returns what takes it off. */
  onChange(listener: (name: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Follows the collection until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    await runTasks(signal, {
      clusters: (stop) => this.#reflector.run(stop),
      "cluster changes": async (stop) => {
        for await (const objects of this.#reflector.objects.watch(stop)) {
          this.#hear(objects);
          if (!this.synced.value) this.synced.set(true);
        }
      },
    });
  }

  /** Makes the object where there is none. */
  async create(name: string): Promise<void> {
    const { client, namespace, stop } = this.#context;
    try {
      const writing = { type: TYPE, object: { metadata: { name, namespace }, spec: {} }, fieldManager: FIELD_MANAGER };
      this.#saw(await createObject(client, writing, stop));
    } catch (thrown) {
      if (MeshError.from(thrown).code !== "conflict") throw thrown;
    }
  }

  /**
   * Changes the status of one cluster by compare-and-swap: `change` is called again with what is stored when somebody
   * else was faster, and when it refused what this replica had only heard. Returns the object after it; undefined where
   * there is none. Throws what `change` throws, `unavailable` when others are faster for too long, and what the API server
   * answers.
   */
  async updateStatus(name: string, change: StatusChange, from: StartFrom): Promise<KubernetesCluster | undefined> {
    const before = this.#changing.get(name) ?? Promise.resolve();
    const work = before.then(() => this.#update(name, change, from));
    const settled = work.catch(() => undefined);
    this.#changing.set(name, settled);
    try {
      return await work;
    } finally {
      if (this.#changing.get(name) === settled) this.#changing.delete(name);
    }
  }

  async #update(name: string, change: StatusChange, from: StartFrom): Promise<KubernetesCluster | undefined> {
    const { clock, random, stop } = this.#context;
    if (from === "heard") {
      const known = this.get(name);
      const outcome = known && (await this.#tryWith(known, change).catch(() => undefined));
      if (outcome) return outcome;
    }
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const stored = await this.#read(name);
      const outcome = await this.#tryWith(stored, change);
      if (outcome || !stored) return outcome;
      await clock.sleep(random() * CONFLICT_PAUSE_MS, stop);
    }
    throw new MeshError(
      "unavailable",
      `the status of cluster ${name} was changed by others ${ATTEMPTS} times in a row`,
    );
  }

  /** The object after the change, or undefined when it must be read again. */
  async #tryWith(cluster: KubernetesCluster | undefined, change: StatusChange): Promise<KubernetesCluster | undefined> {
    const status = await change(cluster);
    if (!status || !cluster) return cluster;
    const { client, stop } = this.#context;
    const writing = {
      type: TYPE,
      object: { ...cluster, status },
      subresource: "status",
      fieldManager: FIELD_MANAGER,
    } as const;
    try {
      return this.#saw(await replaceObject(client, writing, stop));
    } catch (thrown) {
      if (["conflict", "not_found"].includes(MeshError.from(thrown).code)) return undefined;
      throw thrown;
    }
  }

  async #read(name: string): Promise<KubernetesCluster | undefined> {
    const { client, namespace, stop } = this.#context;
    const object = await readObject(client, TYPE, { namespace, name }, stop);
    return object && this.#saw(object);
  }

  /** What was read or written is known from now on, before the watch tells of it. */
  #saw(object: KubeObject): KubernetesCluster {
    const { name, resourceVersion } = object.metadata;
    const isNews = this.get(name)?.metadata.resourceVersion !== resourceVersion;
    this.#seen.add(this.#keyOf(name), object);
    if (isNews) this.#tell([name]);
    return object as KubernetesCluster;
  }

  #hear(objects: ReadonlyMap<string, KubeObject>): void {
    const before = this.#heard;
    this.#heard = objects;
    const changed: string[] = [];
    for (const [key, object] of objects) {
      const known = before.get(key);
      if (known !== object && known?.metadata.resourceVersion !== object.metadata.resourceVersion) {
        changed.push(object.metadata.name);
      }
    }
    for (const [key, { metadata }] of before) {
      if (objects.has(key)) continue;
      this.#seen.gone(key, metadata.uid);
      changed.push(metadata.name);
    }
    this.#tell(changed);
  }

  #tell(names: readonly string[]): void {
    for (const name of names) for (const listener of this.#listeners) listener(name);
  }

  #keyOf(name: string): string {
    return refKey({ namespace: this.#context.namespace, name });
  }
}
