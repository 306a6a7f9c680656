import { createHash } from "node:crypto";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";

/**
 * What changes: one resource for all clusters, another one for each that is translated from its Mesh, or that of the first
 * cluster alone while all others are looked at too.
 */
export type Content = "same" | "translated" | "one";

export interface PushArgument {
  readonly content: Content;
  /** Whether to watch the event loop meanwhile; a round that does costs more CPU. */
  readonly watchLoop?: boolean;
  /** So many answers are awaited; without it one of each agent. */
  readonly answers?: number;
}

/** One push, from the change to the last result. */
export interface Round {
  /** CPU of the server's process, microseconds. */
  readonly cpuUs: number;
  readonly wallMs: number;
  /** The longest time for which a timer of the server was late; 0 where nobody watched. */
  readonly loopDelayMs: number;
}

export interface ListenArgument {
  readonly stateDir: string;
  readonly fleetFile: string;
  readonly agents: number;
  /** "127.0.0.1:PORT"; without it any port. */
  readonly listen?: string;
  /** Whether ours lets in only so many sessions per second as it does by default. */
  readonly admission?: boolean;
}

/** What both relay servers, ours and the bare one, offer to the bench. */
export type RelayServerCalls = {
  /** Begins to serve and returns "host:port". Each agent that connects is pushed the first content. */
  readonly listen: (argument: ListenArgument) => Promise<string>;
  /** Resolves when all have answered the push that is under way. */
  readonly settled: (argument: null) => Promise<void>;
  /** Pushes new content and waits for the results. */
  readonly push: (argument: PushArgument) => Promise<Round>;
  /** Results that were counted since the start. */
  readonly results: (argument: null) => number;
  /** Names what all agents shall hold, in the order of their numbers: SHA-256 of the versions. */
  readonly wanted: (argument: null) => string;
};

/** One name for what many agents hold, each its version. */
export const nameVersions = (versions: readonly string[]): string =>
  createHash("sha256").update(versions.join()).digest("hex");

/** Waits for one result of each of several agents, and counts. */
export class Tally {
  #missing = new Set<string>();
  #left = 0;
  #resolve: () => void = () => undefined;
  #all: Promise<void> = Promise.resolve();
  results = 0;

  /** From now on one result of each of `clusters` counts, and `answers` of them are awaited. */
  expect(clusters: Iterable<string>, answers?: number): void {
    this.#missing = new Set(clusters);
    this.#left = answers ?? this.#missing.size;
    this.#all = new Promise((resolve) => (this.#resolve = resolve));
  }

  /** Takes a result; a second one of the same cluster counts for nothing. */
  take(cluster: string): void {
    if (!this.#missing.delete(cluster)) return;
    this.results += 1;
    this.#left -= 1;
    if (this.#left === 0) this.#resolve();
  }

  /** Resolves when all have answered. */
  get all(): Promise<void> {
    return this.#all;
  }
}

/**
 * The histogram's timer must have fired before the round that it watches, and after it: the first time after a reset counts
 * for nothing, so that a round that began at once would be seen without its first turn.
 */
const SETTLE_MS = 20;

/** Measures `push`, which is done when all have answered. */
export async function measureRound(tally: Tally, watchLoop: boolean, push: () => void): Promise<Round> {
  const histogram = watchLoop ? monitorEventLoopDelay({ resolution: 1 }) : undefined;
  if (histogram) {
    histogram.enable();
    await delay(SETTLE_MS);
    histogram.reset();
    await delay(SETTLE_MS);
  }
  const before = process.cpuUsage();
  const startedMs = performance.now();
  push();
  await tally.all;
  const { user, system } = process.cpuUsage(before);
  const wallMs = performance.now() - startedMs;
  if (!histogram) return { cpuUs: user + system, wallMs, loopDelayMs: 0 };
  await delay(SETTLE_MS);
  histogram.disable();
  return { cpuUs: user + system, wallMs, loopDelayMs: histogram.max / 1e6 };
}
