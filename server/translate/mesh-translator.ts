import type { Mesh } from "../../common/api/discovery.ts";
import { keyOf, type WireResource } from "../../common/session/resource-set.ts";
import { appliedIntent } from "../intent/applied.ts";
import { clusterOf, lackOf } from "../intent/mesh-checks.ts";
import { nextTurn, type Defer } from "../relay/fanout.ts";
import type { IntentBook } from "../relay/intent-book.ts";
import { certificateName } from "./translate.ts";
import { resourceOf } from "./wire.ts";

export interface MeshTranslatorOptions {
  readonly intents: IntentBook;
  /** The management server's own namespace. */
  readonly namespace: string;
  /** How the work of many Meshes is spread over the event loop. */
  readonly defer?: Defer;
}

/** So many Meshes are translated before other events of the loop get their turn. */
const SLICE = 50;

/** What one Mesh asks of its cluster. */
interface Entry {
  readonly mesh: Mesh;
  readonly cluster: string;
  /** Key of its certificate in the cluster. */
  readonly key: string;
  readonly resource: WireResource | undefined;
  /** `status.removal.since`, while one is pending. */
  readonly removal: string | undefined;
}

/**
 * Turns `Mesh.status.appliedVirtualMesh` into what each cluster shall hold, at every replica of the server. A Mesh that
 * did not change costs nothing; one that did touches its own cluster.
 *
 * Nothing is removed by absence: a Mesh that is gone, or was made again and not judged yet, keeps what it asked for. A
 * removal is passed on until the agent has acknowledged it to this replica, or the Mesh says that it did to another.
 */
export class MeshTranslator {
  readonly #options: MeshTranslatorOptions;
  /** By `refKey` of the Mesh; those that are gone, too. */
  readonly #entries = new Map<string, Entry>();
  readonly #byCluster = new Map<string, Set<string>>();
  /** `since` of the removal that was passed on last, by `refKey` of the Mesh. */
  readonly #passedOn = new Map<string, string>();

  constructor(options: MeshTranslatorOptions) {
    this.#options = options;
  }

  /**
   * Takes all Meshes as they are now, by `refKey`; those that are unchanged are the same objects as before. In slices of
   * the event loop: clusters get theirs one after the other, and all have it when this resolves. One at a time.
   */
  async take(meshes: ReadonlyMap<string, Mesh>): Promise<void> {
    const { defer = nextTurn } = this.#options;
    const changed: [string, Mesh][] = [];
    for (const [key, mesh] of meshes) if (this.#entries.get(key)?.mesh !== mesh) changed.push([key, mesh]);
    for (let from = 0; from < changed.length; from += SLICE) {
      if (from > 0) await new Promise<void>(defer);
      this.#takeSome(changed.slice(from, from + SLICE));
    }
  }

  /** Version of the Mesh's certificate that is in force in its cluster; undefined when none is. */
  version(meshKey: string): string | undefined {
    return this.#entries.get(meshKey)?.resource?.version;
  }

  /** `refKey`s of the Meshes of a cluster, those that are gone, too. */
  meshesOf(cluster: string): Iterable<string> {
    return this.#byCluster.get(cluster) ?? [];
  }

  /** `since` of the Mesh's removal, once the agent has acknowledged it to this replica. */
  acknowledgedRemoval(meshKey: string): string | undefined {
    const entry = this.#entries.get(meshKey);
    if (entry?.removal === undefined || this.#passedOn.get(meshKey) !== entry.removal) return undefined;
    return this.#options.intents.get(entry.cluster).removals.has(entry.key) ? undefined : entry.removal;
  }

  #takeSome(changed: readonly (readonly [string, Mesh])[]): void {
    const touched = new Set<string>();
    for (const [key, mesh] of changed) {
      const before = this.#entries.get(key);
      const entry = this.#entryOf(mesh, before);
      this.#entries.set(key, entry);
      if (before) this.#byCluster.get(before.cluster)?.delete(key);
      this.#byCluster.set(entry.cluster, (this.#byCluster.get(entry.cluster) ?? new Set()).add(key));
      touched.add(entry.cluster).add(before?.cluster ?? entry.cluster);
    }
    for (const cluster of touched) this.#publish(cluster);
  }

  #entryOf(mesh: Mesh, before: Entry | undefined): Entry {
    // Broken by hand: its last form stays.
    if (before && lackOf(mesh) !== undefined) return { ...before, mesh };
    const cluster = clusterOf(mesh);
    const intent = appliedIntent(mesh);
    // Made again by discovery: the leader has not said yet what applies.
    const isUnjudged = mesh.status?.observedGeneration === undefined;
    const applied = intent && resourceOf(intent, mesh, this.#options.namespace);
    const resource = isUnjudged ? (applied ?? before?.resource) : applied;
    return { mesh, cluster, key: keyOf(certificateName(mesh)), resource, removal: mesh.status?.removal?.since };
  }

  #publish(cluster: string): void {
    const { intents } = this.#options;
    const before = intents.get(cluster);
    const resources = new Map<string, WireResource>();
    const removals = new Set<string>();
    const entries = [...(this.#byCluster.get(cluster) ?? [])].sort();
    for (const meshKey of entries) {
      const entry = this.#entries.get(meshKey);
      if (entry?.resource) resources.set(keyOf(entry.resource.name), entry.resource);
      if (entry?.removal === undefined) this.#passedOn.delete(meshKey);
      else if (this.#passedOn.get(meshKey) !== entry.removal || before.removals.has(entry.key)) {
        this.#passedOn.set(meshKey, entry.removal);
        removals.add(entry.key);
      }
    }
    intents.replace(cluster, resources, new Set([...removals].filter((key) => !resources.has(key))));
  }
}
