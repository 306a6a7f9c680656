import { MeshError } from "../../common/runtime/errors.ts";
import type { SimProcess } from "./process.ts";

/** Turns of one process after which two agents must have been seen, whatever else was recorded between them. */
const SURELY_SEEN = 5;

/** One cluster's sessions, as they passed on the wire. */
interface Seen {
  /** By epoch: the process that was welcomed. */
  readonly sessions: Map<bigint, SimProcess>;
  hasClone: boolean;
  sightings: number;
}

/** Knows which clusters have two agents, and what the servers' watch for clones must make of it: seen, and never made up. */
export class Clones {
  readonly #clusters = new Map<string, Seen>();
  readonly #fail: (what: string) => void;

  constructor(fail: (what: string) => void) {
    this.#fail = fail;
  }

  get sightings(): number {
    return [...this.#clusters.values()].reduce((sum, { sightings }) => sum + sightings, 0);
  }

  /** From now on there are two agents with the identity of this cluster. */
  cloned(cluster: string): void {
    this.#of(cluster).hasClone = true;
  }

  hasHadClone(cluster: string): boolean {
    return this.#of(cluster).hasClone;
  }

  /** A server says that two take turns. */
  sighted(cluster: string): void {
    const seen = this.#of(cluster);
    seen.sightings += 1;
    if (!seen.hasClone) this.#fail(`the agent of ${cluster} was called a clone, and there is none`);
  }

  /** An agent was welcomed. */
  welcomed(cluster: string, epoch: bigint, process: SimProcess): void {
    const { sessions } = this.#of(cluster);
    sessions.set(epoch, process);
  }

  /** A server that is alone forgets who took turns when it dies. */
  forgotten(): void {
    for (const { sessions } of this.#clusters.values()) sessions.clear();
  }

  /** Throws where two agents took turns for long and nobody saw it. */
  check(): void {
    for (const [cluster, { sessions, sightings }] of this.#clusters) {
      const inOrder = [...sessions].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, process]) => process);
      const turns = inOrder.filter((process, index) => process !== inOrder[index - 1]);
      const most = Math.max(0, ...turns.map((process) => turns.filter((each) => each === process).length));
      if (most >= SURELY_SEEN && sightings === 0)
        throw new MeshError("internal", `two agents of ${cluster} took turns, and nobody saw it`);
    }
  }

  #of(cluster: string): Seen {
    const known = this.#clusters.get(cluster);
    if (known) return known;
    const seen: Seen = { sessions: new Map(), hasClone: false, sightings: 0 };
    this.#clusters.set(cluster, seen);
    return seen;
  }
}
