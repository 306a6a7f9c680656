import type { Clock, Random } from "./clock.ts";
import { MeshError } from "./errors.ts";
import { Latest } from "./latest.ts";
import { Backoff } from "./retry.ts";

export interface PacedWorkOptions {
  /** Does what is due for the key, whatever that is by then. What it throws is tried again after a while. */
  readonly work: (key: string, signal: AbortSignal) => Promise<void>;
  /** Called for each failure. */
  readonly onFailure: (key: string, error: MeshError) => void;
  readonly clock: Clock;
  readonly random: Random;
  /** Keys that are worked on at once; default 8. */
  readonly parallel?: number;
  /** Rest of a key between two works on it; default none. */
  readonly spacingMs?: number;
}

const BACKOFF = { baseMs: 250, capMs: 30_000 };

/** A key that is worked on, or rests after that. */
interface Lane {
  /** It was touched meanwhile. */
  isDirty: boolean;
}

/**
 * Work that is to be done again for each key that is touched. However often a key is touched, one work on it runs at a
 * time and one more follows; a key that never rests is slowed down, and no other key waits for it.
 */
export class PacedWork {
  readonly #options: PacedWorkOptions;
  /** Keys that are touched and that nobody works on. */
  readonly #waiting = new Set<string>();
  readonly #lanes = new Map<string, Lane>();
  /** Of keys whose last work failed. */
  readonly #backoffs = new Map<string, Backoff>();
  readonly #wake = new Latest<number>(0);
  readonly #resting = new Set<Promise<void>>();

  constructor(options: PacedWorkOptions) {
    this.#options = options;
  }

  /** There is something to do for the key. Outside of `run` it is remembered. */
  touch(key: string): void {
    const lane = this.#lanes.get(key);
    if (lane) lane.isDirty = true;
    else this.#enqueue(key);
  }

  /** Works until `signal` is aborted; then it waits for what is under way. */
  async run(signal: AbortSignal): Promise<void> {
    const { parallel = 8 } = this.#options;
    await Promise.all(Array.from({ length: parallel }, () => this.#worker(signal)));
    await Promise.all(this.#resting);
  }

  #enqueue(key: string): void {
    this.#waiting.add(key);
    this.#wake.set((this.#wake.value ?? 0) + 1);
  }

  async #worker(signal: AbortSignal): Promise<void> {
    for await (const _ of this.#wake.watch(signal)) {
      for (const key of this.#waiting) {
        if (signal.aborted) return;
        this.#waiting.delete(key);
        await this.#workOn(key, signal);
      }
    }
  }

  async #workOn(key: string, signal: AbortSignal): Promise<void> {
    const lane: Lane = { isDirty: false };
    this.#lanes.set(key, lane);
    let restMs = this.#options.spacingMs ?? 0;
    try {
      await this.#options.work(key, signal);
      this.#backoffs.delete(key);
    } catch (thrown) {
      lane.isDirty = true;
      if (!signal.aborted) restMs = Math.max(restMs, this.#failed(key, MeshError.from(thrown)));
    }
    // The rest of one key takes no worker from the others.
    const resting = this.#rest(key, restMs, signal).finally(() => this.#resting.delete(resting));
    this.#resting.add(resting);
  }

  #failed(key: string, error: MeshError): number {
    const { random, onFailure } = this.#options;
    onFailure(key, error);
    const backoff = this.#backoffs.get(key) ?? new Backoff({ ...BACKOFF, random });
    this.#backoffs.set(key, backoff);
    return backoff.next(error.retryAfterMs);
  }

  async #rest(key: string, ms: number, signal: AbortSignal): Promise<void> {
    if (ms > 0) await this.#options.clock.sleep(ms, signal).catch(() => undefined);
    const isDirty = this.#lanes.get(key)?.isDirty ?? false;
    this.#lanes.delete(key);
    if (isDirty) this.#enqueue(key);
  }
}
