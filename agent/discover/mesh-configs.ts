import type { KubeClient } from "../../common/kube/client.ts";
import { Collection } from "../../common/kube/collection.ts";
import type { ResourceType } from "../../common/kube/resource-type.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import { type Istiod, meshConfigName } from "./istiod-deployment.ts";
import { type MeshConfig, readMeshConfig } from "./mesh-config.ts";
import { leftOut, type Reading } from "./reading.ts";
import { meshConfigKey } from "./translate.ts";

export interface MeshConfigsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const CONFIG_MAPS: ResourceType = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps" };

interface Followed {
  readonly collection: Collection<Reading<MeshConfig>>;
  readonly stop: AbortController;
  readonly running: Promise<void>;
}

/**
 * The mesh configurations of the istiods that there are. Each is watched by its name: a cluster's other ConfigMaps are
 * neither read nor held, nor need the right to read them be given.
 */
export class MeshConfigs {
  /** Told on each change. */
  readonly changes = new Latest<number>(0);
  readonly #options: MeshConfigsOptions;
  readonly #followed = new Map<string, Followed>();

  constructor(options: MeshConfigsOptions) {
    this.#options = options;
  }

  /**
   * By `meshConfigKey`; undefined for a ConfigMap that is not there, and undefined as a whole while one was not looked
   * for yet.
   */
  values(istiods: readonly Istiod[]): ReadonlyMap<string, Reading<MeshConfig> | undefined> | undefined {
    const entries = istiods.map((istiod): [string, Reading<MeshConfig> | undefined] | undefined => {
      const key = meshConfigKey(istiod);
      const collection = this.#followed.get(key)?.collection;
      if (collection?.values) return [key, collection.values[0]];
      const fault = collection?.fault.value;
      return fault?.code === "permission_denied" ? [key, leftOut(`ConfigMap ${key}`, fault.message)] : undefined;
    });
    const known = entries.filter((entry) => entry !== undefined);
    return known.length === entries.length ? new Map(known) : undefined;
  }

  /** Follows the configurations of these istiods until `signal` is aborted. */
  async run(istiods: Latest<readonly Istiod[]>, signal: AbortSignal): Promise<void> {
    try {
      for await (const present of istiods.watch(signal)) this.#follow(present, signal);
    } finally {
      await Promise.all([...this.#followed.keys()].map((key) => this.#leave(key)));
    }
  }

  #follow(istiods: readonly Istiod[], signal: AbortSignal): void {
    const wanted = new Map(istiods.map((istiod) => [meshConfigKey(istiod), istiod]));
    for (const [key, istiod] of wanted) if (!this.#followed.has(key)) this.#begin(key, istiod, signal);
    for (const key of this.#followed.keys()) if (!wanted.has(key)) void this.#leave(key);
    this.#touch();
  }

  #begin(key: string, istiod: Istiod, signal: AbortSignal): void {
    const collection = new Collection({
      ...this.#options,
      type: CONFIG_MAPS,
      namespace: istiod.namespace,
      fieldSelector: `metadata.name=${meshConfigName(istiod)}`,
      read: readMeshConfig,
    });
    const stop = new AbortController();
    const running = runTasks(AbortSignal.any([signal, stop.signal]), {
      collection: (until) => collection.run(until),
      changes: async (until) => {
        for await (const _ of Latest.changes([collection.changes, collection.fault], until)) this.#touch();
      },
    });
    this.#followed.set(key, { collection, stop, running });
  }

  async #leave(key: string): Promise<void> {
    const followed = this.#followed.get(key);
    this.#followed.delete(key);
    followed?.stop.abort();
    await followed?.running;
  }

  #touch(): void {
    this.changes.set((this.changes.value ?? 0) + 1);
  }
}
