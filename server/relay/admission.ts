import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { RateLimit } from "../identity/rate-limit.ts";

/** Share of the places that one cluster can take at once, and of those that it gets back per second. */
const CLUSTER_BURST = 0.1;
const CLUSTER_RATE = 0.005;
/** So many places can be taken at once after a rest: those of this time. */
const BURST_MS = 1_000;
/** Who comes so much before its time is let in: timers are not exact, and another handshake would cost more. */
const EARLY_MS = 50;
/** Who has a place within this time waits for it on its stream: another handshake would cost more than keeping that open. */
const WAIT_MS = 5_000;
/** A place is kept for so long after its time for whoever was told to come. */
const KEPT_MS = 30_000;

/**
 * Spreads the beginnings of sessions over time. Who finds no place is told when there is one, and it is kept for it:
 * were it only asked to try again, all who wait would take the places from each other and nobody would get in.
 * Each cluster has a bucket of its own before that, so that an agent that reconnects in a loop takes none from the others.
 */
export class Admission {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #intervalMs: number;
  readonly #perCluster: RateLimit;
  /** When the next place is that nobody has. */
  #freeAtMs = -Infinity;
  /** Place by cluster, in order of time. */
  readonly #places = new Map<string, number>();

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#intervalMs = 1000 / perSecond;
    this.#perCluster = new RateLimit({
      clock,
      perSecond: Math.max(1, perSecond * CLUSTER_RATE),
      burst: Math.max(5, perSecond * CLUSTER_BURST),
      what: "sessions of one cluster",
    });
  }

  /**
   * Resolves when `cluster` may begin. Throws `resource_exhausted`, with the time to come back at, where its place is too far
   * ahead or it asks too often; the reason of `signal` when that is aborted first.
   */
  async enter(cluster: string, signal: AbortSignal): Promise<void> {
    let waitMs = this.take(cluster);
    if (waitMs > 0 && waitMs <= WAIT_MS) {
      await this.#clock.sleep(waitMs, signal);
      waitMs = this.take(cluster);
    }
    if (waitMs === 0) return;
    throw new MeshError("resource_exhausted", `more than ${this.#perSecond} agents connect per second`, {
      retryAfterMs: waitMs,
    });
  }

  /**
   * Takes a place for `cluster` and returns 0, or the milliseconds until the one that is kept for it; then it asks again.
   * Throws `resource_exhausted` for a cluster that asks too often.
   */
  take(cluster: string): number {
    this.#perCluster.take(cluster);
    const now = this.#clock.now();
    this.#forgetLate(now);
    const placeMs = this.#placeOf(cluster, now);
    if (placeMs <= now + EARLY_MS) {
      this.#places.delete(cluster);
      return 0;
    }
    this.#places.set(cluster, placeMs);
    return Math.ceil(placeMs - now);
  }

  /** The place that is kept for the cluster, else the next one that is free. */
  #placeOf(cluster: string, now: number): number {
    // At most all who wait stand before it: what is later was given before the clock was set back.
    const latestMs = now + EARLY_MS + (this.#places.size + 1) * this.#intervalMs;
    const keptMs = this.#places.get(cluster);
    if (keptMs !== undefined && keptMs <= latestMs) return keptMs;
    this.#places.delete(cluster);
    const placeMs = Math.min(Math.max(this.#freeAtMs, now - BURST_MS + this.#intervalMs), latestMs);
    this.#freeAtMs = placeMs + this.#intervalMs;
    return placeMs;
  }

  #forgetLate(now: number): void {
    for (const [cluster, placeMs] of this.#places) {
      if (placeMs > now - KEPT_MS) return;
      this.#places.delete(cluster);
    }
  }
}
