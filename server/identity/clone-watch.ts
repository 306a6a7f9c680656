import type { Log } from "../../common/runtime/log.ts";

/** What a process calls itself is its own to choose, up to this length. */
const MAX_NAME = 64;
/** Agent processes that are remembered of one cluster: a clone takes turns with the agent, and both are among the last. */
const MAX_INSTANCES = 8;

/**
 * Looks for two agents with one identity: somebody copied the agent's state or its Secret, or restored a backup of it
 * beside the agent. They take turns, since the newest session wins, until one renews and the other is left with a certificate that was
 * replaced.
 */
export class CloneWatch {
  readonly #log: Log;
  /** Processes that had a session, by cluster, the newest last. */
  readonly #instances = new Map<string, readonly string[]>();
  readonly #sightings = new Map<string, number>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** How often a clone was seen, by cluster. */
  get sightings(): ReadonlyMap<string, number> {
    return this.#sightings;
  }

  /** To be told of each session that begins; `instance` is the random name of the agent's process. */
  sessionBegan({ cluster, peer, instance }: { cluster: string; peer: string; instance: string }): void {
    const name = instance.slice(0, MAX_NAME);
    const seen = this.#instances.get(cluster) ?? [];
    const isBack = seen.includes(name) && seen.at(-1) !== name;
    this.#instances.set(cluster, [...seen.filter((each) => each !== name), name].slice(-MAX_INSTANCES));
    if (!isBack) return;
    this.#count(cluster);
    this.#log.warn("two agents take turns with one identity", { cluster, peer, possibleClone: true });
  }

  /** To be told of a certificate of the relay's own CA that is not, or not any more, the cluster's. */
  certificateRefused(cluster: string): void {
    this.#count(cluster);
  }

  #count(cluster: string): void {
    this.#sightings.set(cluster, (this.#sightings.get(cluster) ?? 0) + 1);
  }
}
