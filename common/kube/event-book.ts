import { randomBytes } from "node:crypto";
import type { EventFacts } from "./events.ts";

/** An Event to write: a new one, or another count of one that was written. */
export interface EventWrite {
  readonly event: EventFacts;
  /** Of the Event object. */
  readonly name: string;
  /** How often it happened; above 1 the object exists. */
  readonly count: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

interface Known extends EventWrite {
  /** When it was written last; undefined before the first time. */
  readonly writtenMs: number | undefined;
}

interface Bucket {
  readonly tokens: number;
  readonly atMs: number;
}

/** The same event within so long is one. */
const SAME_MS = 10 * 60_000;
/** A count is written no more often than this. */
const COUNT_MS = 60_000;
/** Different events of one object: so many at once, then one in each minute. */
const BURST = 25;
const REFILL_MS = 60_000;
/** What is remembered, and what waits: memory stays flat whatever happens. */
const MAX_KNOWN = 4_096;
const MAX_WAITING = 256;

/** Decides which events are written: each once, with a count of its repetitions, and not too many of one object. */
export class EventBook {
  readonly #known = new Map<string, Known>();
  readonly #buckets = new Map<string, Bucket>();
  /** Keys of what waits, the oldest first. */
  readonly #waiting = new Set<string>();

  /** Takes note of an event; true when there is something to write for it. */
  take(event: EventFacts, nowMs: number): boolean {
    const key = keyOf(event);
    const known = this.#known.get(key);
    if (known && nowMs - known.lastMs < SAME_MS) {
      this.#remember(key, { ...known, count: known.count + 1, lastMs: nowMs });
      return known.writtenMs !== undefined && nowMs - known.writtenMs >= COUNT_MS && this.#wait(key);
    }
    if (!this.#allows(event, nowMs)) return false;
    const name = `${event.regarding.metadata.name.slice(0, 200)}.${randomBytes(8).toString("hex")}`;
    this.#remember(key, { event, name, count: 1, firstMs: nowMs, lastMs: nowMs, writtenMs: undefined });
    return this.#wait(key);
  }

  /** What to write next; it stays the next until it is written or dropped. */
  next(): EventWrite | undefined {
    for (const key of this.#waiting) {
      const known = this.#known.get(key);
      if (known) return { ...known, count: known.writtenMs === undefined ? 1 : known.count };
      this.#waiting.delete(key);
    }
    return undefined;
  }

  written(write: EventWrite): void {
    const key = keyOf(write.event);
    this.#waiting.delete(key);
    const known = this.#known.get(key);
    if (known) this.#known.set(key, { ...known, writtenMs: write.lastMs });
  }

  dropped({ event }: EventWrite): void {
    this.#waiting.delete(keyOf(event));
  }

  #wait(key: string): boolean {
    if (this.#waiting.size >= MAX_WAITING) return false;
    this.#waiting.add(key);
    return true;
  }

  #allows({ regarding: { kind, metadata } }: EventFacts, nowMs: number): boolean {
    const key = `${kind}/${metadata.namespace ?? ""}/${metadata.name}`;
    const last = this.#buckets.get(key) ?? { tokens: BURST, atMs: nowMs };
    const tokens = Math.min(BURST, last.tokens + (nowMs - last.atMs) / REFILL_MS);
    this.#buckets.delete(key);
    this.#buckets.set(key, { tokens: tokens >= 1 ? tokens - 1 : tokens, atMs: nowMs });
    forgetOldest(this.#buckets);
    return tokens >= 1;
  }

  #remember(key: string, known: Known): void {
    this.#known.delete(key);
    this.#known.set(key, known);
    forgetOldest(this.#known);
  }
}

const keyOf = ({ regarding: { kind, metadata }, type, reason, note }: EventFacts): string =>
  [kind, metadata.namespace, metadata.name, metadata.uid, type, reason, note].join("\0");

function forgetOldest(map: Map<string, unknown>): void {
  if (map.size <= MAX_KNOWN) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
