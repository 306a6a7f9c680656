import { ResourceOutcome, type Push, type Result } from "../../proto/gen/relay/v1/relay.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { digestOf, keyOf, nameOf, type Versions, type WireResource } from "../../common/session/resource-set.ts";

/** What a cluster shall hold of one type. */
export interface Desired {
  /** By key. */
  readonly resources: ReadonlyMap<string, WireResource>;
  /** Keys removed on purpose, until the agent has acknowledged it. */
  readonly removals: ReadonlySet<string>;
}

export const NOTHING_DESIRED: Desired = { resources: new Map(), removals: new Set() };

/** A version that the agent refused: not sent again before it changes or `retryAtMs` has come. */
export interface Parked {
  readonly version: string;
  readonly code: string;
  readonly message: string;
  /** Infinity for a refusal that only a change can heal. */
  readonly retryAtMs: number;
  readonly attempts: number;
}

export interface RetryTimes {
  readonly baseMs: number;
  readonly capMs: number;
}

const RETRY: RetryTimes = { baseMs: 5 * 60_000, capMs: 60 * 60_000 };

interface InFlight {
  readonly push: Push;
  /** What the agent holds if it takes everything. */
  readonly target: ReadonlyMap<string, string>;
}

/**
 * Decides what to send to one agent of one type. Pure: no I/O, no clock; times come in. At most one push awaits its
 * result; whatever changes meanwhile is merged into the next difference. It outlives sessions, so that a reconnect of
 * an agent whose digest fits goes on with a difference and a refusal is not sent again.
 */
export class PushMachine {
  readonly type: string;
  readonly #retry: RetryTimes;
  #desired: Desired = NOTHING_DESIRED;
  /** What the agent holds; undefined while that is not known. */
  #held: Versions | undefined;
  #inFlight: InFlight | undefined;
  #nextId = 1n;
  #acknowledgedRemovals = new Set<string>();
  /** When a whole set was answered by a wish for the whole set: nothing is sent before this time. */
  #stuckUntilMs = 0;
  readonly #parked = new Map<string, Parked>();

  constructor(type: string, retry: RetryTimes = RETRY) {
    this.type = type;
    this.#retry = retry;
  }

  get held(): Versions | undefined {
    return this.#held;
  }

  get parked(): ReadonlyMap<string, Parked> {
    return this.#parked;
  }

  /** A session begins with an agent whose set has this digest (empty: it never held anything). */
  begin(heldDigest: Uint8Array): void {
    this.#inFlight = undefined;
    this.#nextId = 1n;
    this.#stuckUntilMs = 0;
    const wanted = versionsOf(this.#desired);
    if (equal(heldDigest, digestOf(wanted))) this.#held = wanted;
    else if (heldDigest.length === 0) this.#held = new Map();
    else if (!this.#held || !equal(heldDigest, digestOf(this.#held))) this.#held = undefined;
  }

  want(desired: Desired): void {
    this.#desired = desired;
    for (const [key, { version }] of this.#parked) {
      if (desired.resources.get(key)?.version !== version) this.#parked.delete(key);
    }
    for (const key of this.#acknowledgedRemovals) {
      if (!desired.removals.has(key)) this.#acknowledgedRemovals.delete(key);
    }
  }

  /** The push to send now, if any. The caller sends it: it counts as in flight from here. */
  next(nowMs: number): Push | undefined {
    if (this.#inFlight || nowMs < this.#stuckUntilMs) return undefined;
    const held = this.#held;
    const upserts = [...this.#desired.resources].filter(([key, { version }]) => {
      if (held && held.get(key) === version) return false;
      const parked = this.#parked.get(key);
      return !held || parked?.version !== version || parked.retryAtMs <= nowMs;
    });
    const removals = [...this.#desired.removals].filter((key) => !this.#acknowledgedRemovals.has(key));
    if (held && upserts.length === 0 && removals.length === 0) return undefined;
    const target = new Map(held);
    for (const [key, { version }] of upserts) target.set(key, version);
    for (const key of removals) target.delete(key);
    const push: Push = {
      type: this.type,
      id: this.#nextId++,
      base: held ? digestOf(held) : Buffer.alloc(0),
      upserts: upserts.map(([, { name, content }]) => ({ name, content })),
      removals: removals.map(nameOf),
      digest: digestOf(target),
    };
    this.#inFlight = { push, target };
    return push;
  }

  /** Takes the agent's answer. Throws `invalid_argument` for an answer to nothing that was asked. */
  result(result: Result, nowMs: number): void {
    const inFlight = this.#inFlight;
    if (inFlight?.push.id !== result.id) {
      throw new MeshError("invalid_argument", `result for push ${result.id} of ${this.type}, which is not in flight`);
    }
    this.#inFlight = undefined;
    if (result.wantWholeSet) {
      if (inFlight.push.base.length === 0) this.#stuckUntilMs = nowMs + this.#retry.baseMs;
      this.#held = undefined;
      return;
    }
    const held = new Map(inFlight.target);
    for (const each of result.results) {
      const key = each.name ? keyOf(each.name) : "";
      if (each.outcome === ResourceOutcome.RESOURCE_OUTCOME_REJECTED) {
        if (each.heldVersion.length > 0) held.set(key, each.heldVersion.toString("hex"));
        else held.delete(key);
        this.#park(key, each, nowMs);
      } else this.#parked.delete(key);
    }
    for (const name of inFlight.push.removals) this.#acknowledgedRemovals.add(keyOf(name));
    // Both sides must agree on what is held, else the next difference would build on sand.
    this.#held = equal(result.held, digestOf(held)) ? held : undefined;
  }

  /** Removals that the agent has acknowledged, so that the intent can forget them. */
  get acknowledgedRemovals(): ReadonlySet<string> {
    return this.#acknowledgedRemovals;
  }

  /** When something may become due without anybody's doing; undefined when nothing will. */
  retryAtMs(): number | undefined {
    const times = [...this.#parked.values()].map(({ retryAtMs }) => retryAtMs).filter(Number.isFinite);
    if (this.#stuckUntilMs > 0) times.push(this.#stuckUntilMs);
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  /** True when the agent holds what is desired, all of it. */
  get inSync(): boolean {
    return this.#held !== undefined && equal(digestOf(this.#held), digestOf(versionsOf(this.#desired)));
  }

  #park(key: string, refusal: { code: string; message: string; retriable: boolean }, nowMs: number): void {
    const version = this.#desired.resources.get(key)?.version;
    if (version === undefined) return;
    const before = this.#parked.get(key);
    const attempts = before?.version === version ? before.attempts + 1 : 1;
    const waitMs = Math.min(this.#retry.capMs, this.#retry.baseMs * 2 ** (attempts - 1));
    const { code, message } = refusal;
    this.#parked.set(key, {
      version,
      code,
      message,
      attempts,
      retryAtMs: refusal.retriable ? nowMs + waitMs : Infinity,
    });
  }
}

const versionsOf = (desired: Desired): Versions =>
  new Map([...desired.resources].map(([key, { version }]) => [key, version]));

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
