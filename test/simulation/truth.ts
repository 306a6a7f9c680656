import { keyOf, type WireResource } from "../../common/session/resource-set.ts";
import type { Dice } from "./dice.ts";
import { certificateOf, type Kind, KEPT, nameOf } from "./catalog.ts";

/** What people want of one cluster, as it is stored. */
export interface ClusterIntent {
  readonly resources: ReadonlyMap<string, WireResource>;
  /** Keys that were taken out on purpose and that the agent has not acknowledged, with the time of that. */
  readonly removals: ReadonlyMap<string, number>;
}

export const NO_INTENT: ClusterIntent = { resources: new Map(), removals: new Map() };

/** The source of intent that all replicas follow, and that survives them. */
export class Truth {
  readonly #clusters = new Map<string, ClusterIntent>();
  readonly #listeners = new Set<(cluster: string) => void>();
  readonly #everRemoved = new Set<string>();
  /** All that was ever wanted of a cluster. */
  readonly #history = new Map<string, WireResource[]>();
  #number = 0;

  constructor(clusters: readonly string[]) {
    for (const cluster of clusters) this.put(cluster, KEPT, "good");
  }

  get(cluster: string): ClusterIntent {
    return this.#clusters.get(cluster) ?? NO_INTENT;
  }

  /** Whether somebody has ever taken it out. */
  wasRemoved(cluster: string, key: string): boolean {
    return this.#everRemoved.has(`${cluster} ${key}`);
  }

  put(cluster: string, name: string, kind: Kind): void {
    const resource = certificateOf(cluster, name, { kind, number: this.#number++ });
    this.#putResource(cluster, resource);
  }

  /** A change is reverted: a version that was wanted before comes back. */
  putBack(cluster: string, dice: Dice): void {
    const versions = (this.#history.get(cluster) ?? []).slice(-6);
    const version = versions[dice.between(0, versions.length - 1)];
    if (version) this.#putResource(cluster, version);
  }

  remove(cluster: string, name: string): void {
    const { resources, removals } = this.get(cluster);
    const key = keyOf(nameOf(name));
    if (!resources.has(key)) return;
    this.#everRemoved.add(`${cluster} ${key}`);
    const rest = new Map(resources);
    rest.delete(key);
    this.#set(cluster, { resources: rest, removals: new Map(removals).set(key, this.#number++) });
  }

  /** The agent has done without it since that very removal. */
  acknowledge(cluster: string, key: string, since: number): void {
    const { resources, removals } = this.get(cluster);
    if (removals.get(key) !== since) return;
    const left = new Map(removals);
    left.delete(key);
    this.#set(cluster, { resources, removals: left });
  }

  onChange(listener: (cluster: string) => void): void {
    this.#listeners.add(listener);
  }

  #putResource(cluster: string, resource: WireResource): void {
    const { resources, removals } = this.get(cluster);
    const key = keyOf(resource.name);
    const left = new Map(removals);
    left.delete(key);
    this.#history.set(cluster, [...(this.#history.get(cluster) ?? []), resource]);
    this.#set(cluster, { resources: new Map(resources).set(key, resource), removals: left });
  }

  #set(cluster: string, intent: ClusterIntent): void {
    this.#clusters.set(cluster, intent);
    for (const listener of this.#listeners) listener(cluster);
  }
}
