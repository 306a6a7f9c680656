import type { WireResource } from "../../common/session/resource-set.ts";
import { NOTHING_DESIRED, type Desired } from "./push-machine.ts";

/** What each cluster shall hold. The pipeline writes it, sessions read it. */
export class IntentBook {
  readonly #clusters = new Map<string, Desired>();
  readonly #listeners = new Set<(cluster: string) => void>();

  get(cluster: string): Desired {
    return this.#clusters.get(cluster) ?? NOTHING_DESIRED;
  }

  /** Number of clusters that shall hold something, or shall let it go. */
  get size(): number {
    return this.#clusters.size;
  }

  get clusters(): readonly string[] {
    return [...this.#clusters.keys()];
  }

  /**
   * Puts a cluster's whole set in force. What leaves the set must be named in `removals`, which stay until
   * `forgetRemovals`: nothing is removed by being absent.
   */
  set(cluster: string, resources: ReadonlyMap<string, WireResource>, removals: Iterable<string> = []): void {
    const before = this.get(cluster);
    const pending = new Set([...before.removals, ...removals].filter((key) => !resources.has(key)));
    if (sameVersions(before.resources, resources) && pending.size === before.removals.size) return;
    this.#clusters.set(cluster, { resources, removals: pending });
    for (const listener of this.#listeners) listener(cluster);
  }

  /** Like `set`, where whoever calls knows all removals that are pending, and so says which are not any more. */
  replace(cluster: string, resources: ReadonlyMap<string, WireResource>, removals: ReadonlySet<string>): void {
    const before = this.get(cluster);
    const isSame = removals.size === before.removals.size && [...removals].every((key) => before.removals.has(key));
    if (isSame && sameVersions(before.resources, resources)) return;
    this.#clusters.set(cluster, { resources, removals });
    for (const listener of this.#listeners) listener(cluster);
  }

  /** Drops removals that the cluster's agent has acknowledged. */
  forgetRemovals(cluster: string, keys: ReadonlySet<string>): void {
    const before = this.get(cluster);
    if (before.removals.size === 0) return;
    const removals = new Set([...before.removals].filter((key) => !keys.has(key)));
    if (removals.size < before.removals.size) this.#clusters.set(cluster, { resources: before.resources, removals });
  }

  /** Calls back with the name of each cluster whose set changes, until the returned function is called. */
  onChange(listener: (cluster: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

function sameVersions(a: ReadonlyMap<string, WireResource>, b: ReadonlyMap<string, WireResource>): boolean {
  return a.size === b.size && [...a].every(([key, { version }]) => b.get(key)?.version === version);
}
