import { createHash } from "node:crypto";
import type { Log } from "../../common/runtime/log.ts";

/** Agent processes that had the session of a cluster one after the other, the newest last; each is named once per turn. */
export type Turns = readonly string[];

/** What a process calls itself is its own to choose, up to this length; what is stored of it is as long for all. */
const MAX_NAME = 64;
const STORED_DIGITS = 8;
/** Enough for three that take turns. */
const MAX_TURNS = 8;
/**
 * Turns of one process that make it one of two agents. A leader that was frozen comes back once before it learns that
 * another replica leads, and so does a session of a process that has ended, where it was recorded late; a clone goes on.
 */
const CLONE_TURNS = 3;

/**
 * The turns after a session that begins; `instance` is the random name of the agent's process, new with each start and
 * with each term of a leader. `isClone` when the session was taken from others by one that had it time and again.
 */
export function takeTurn(before: Turns, instance: string): { readonly turns: Turns; readonly isClone: boolean } {
  const name = createHash("sha256").update(instance.slice(0, MAX_NAME)).digest("hex").slice(0, STORED_DIGITS);
  if (before.at(-1) === name) return { turns: before, isClone: false };
  const turns = [...before, name].slice(-MAX_TURNS);
  return { turns, isClone: turns.filter((each) => each === name).length >= CLONE_TURNS };
}

/** What a sighting means and asks for, for people; the same text for each of its kind. */
export interface Sighting {
  readonly cluster: string;
  readonly what: string;
  readonly hint: string;
}

/**
 * Looks for two agents with one identity: somebody copied the agent's state or its Secret, or restored a backup of it
 * beside the agent. They take turns, since the newest session wins, until one renews and the other is left with a certificate that was
 * replaced. The turns are recorded with the sessions, so that they are seen at whichever replicas they are taken.
 */
export class CloneWatch {
  readonly #log: Log;
  readonly #sightings = new Map<string, number>();
  readonly #listeners = new Set<(sighting: Sighting) => void>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** How often a clone was seen here, by cluster. */
  get sightings(): ReadonlyMap<string, number> {
    return this.#sightings;
  }

  /** To be told of each session that `takeTurn` says to be a clone's, by the replica where it begins. */
  tookTurns({ cluster, peer }: { readonly cluster: string; readonly peer: string }): void {
    this.#sighted(cluster, "two agents take turns with the identity of this cluster");
    this.#log.warn("two agents take turns with one identity", { cluster, peer, possibleClone: true });
  }

  /** To be told of a certificate of the relay's own CA that is not, or not any more, the cluster's. */
  certificateRefused(cluster: string): void {
    this.#sighted(cluster, "a certificate was shown for this cluster that was replaced, or that is not on record");
  }

  /** Calls `listener` at each sighting. */
  onSighted(listener: (sighting: Sighting) => void): void {
    this.#listeners.add(listener);
  }

  #sighted(cluster: string, what: string): void {
    this.#sightings.set(cluster, (this.#sightings.get(cluster) ?? 0) + 1);
    const hint = `meshctl cluster revoke ${cluster}, then a new token for the agent that you trust: meshctl cluster register ${cluster} --renew-token`;
    for (const listener of this.#listeners) listener({ cluster, what, hint });
  }
}
