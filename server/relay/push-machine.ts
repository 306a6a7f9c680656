import { ResourceOutcome, type Push, type ResourceResult, type Result } from "../../proto/gen/relay/v1/relay.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { clip } from "../../common/session/bounds.ts";
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

/** A set with its digest, which is made once: it is asked for with each push and each result. */
interface Held {
  readonly versions: Versions;
  readonly digest: Buffer;
}

type Refusal = Pick<ResourceResult, "code" | "message" | "retriable">;

/** A resource with its key. */
export type Keyed = readonly [key: string, resource: WireResource];

interface InFlight {
  readonly push: Push;
  readonly upserts: readonly Keyed[];
  /** What the agent holds if it takes everything. */
  readonly target: Held;
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
  #held: Held | undefined;
  #inFlight: InFlight | undefined;
  #nextId = 1n;
  #acknowledgedRemovals = new Set<string>();
  /** When a whole set led to no agreement: nothing is sent before this time. */
  #stuckUntilMs = 0;
  readonly #parked = new Map<string, Parked>();
  /** Of the agent that refused what is parked. */
  #agentVersion = "";

  constructor(type: string, retry: RetryTimes = RETRY) {
    this.type = type;
    this.#retry = retry;
  }

  get desired(): Desired {
    return this.#desired;
  }

  get held(): Versions | undefined {
    return this.#held?.versions;
  }

  get parked(): ReadonlyMap<string, Parked> {
    return this.#parked;
  }

  /**
   * A session begins with an agent whose set has this digest (empty: it never held anything). What an agent of another
   * version refused, this one may know to do.
   */
  begin(heldDigest: Uint8Array, agentVersion = ""): void {
    if (agentVersion !== this.#agentVersion) this.#parked.clear();
    this.#agentVersion = agentVersion;
    this.#inFlight = undefined;
    this.#nextId = 1n;
    this.#stuckUntilMs = 0;
    const wanted = withDigest(versionsOf(this.#desired));
    if (equal(heldDigest, wanted.digest)) this.#held = wanted;
    else if (heldDigest.length === 0) this.#held = withDigest(new Map());
    else if (!this.#held || !equal(heldDigest, this.#held.digest)) this.#held = undefined;
    // What it refused here it may have taken from another replica.
    for (const [key, { version }] of this.#parked) {
      if (this.#held?.versions.get(key) === version) this.#parked.delete(key);
    }
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
    const held = this.#held?.versions;
    const upserts = this.#dueAt(nowMs);
    const { removals: wanted } = this.#desired;
    const removals = wanted.size === 0 ? [] : [...wanted].filter((key) => !this.#acknowledgedRemovals.has(key));
    if (held && upserts.length === 0 && removals.length === 0) return undefined;
    const versions = new Map(held);
    for (const [key, { version }] of upserts) versions.set(key, version);
    for (const key of removals) versions.delete(key);
    const target = withDigest(versions);
    const push: Push = {
      type: this.type,
      id: this.#nextId++,
      base: this.#held?.digest ?? Buffer.alloc(0),
      upserts: upserts.map(([, { name, content }]) => ({ name, content })),
      removals: removals.map(nameOf),
      digest: target.digest,
    };
    this.#inFlight = { push, upserts, target };
    return push;
  }

  /** What the push that is under way brings. */
  get pushed(): readonly Keyed[] {
    return this.#inFlight?.upserts ?? [];
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
    const pushed = new Set(inFlight.upserts.map(([key]) => key));
    const { versions } = inFlight.target;
    const refused: ResourceResult[] = [];
    for (const each of result.results) {
      // What the agent holds is believed of what was sent to it; else its answers could fill this process.
      if (!pushed.has(keyOfResult(each))) continue;
      if (each.outcome !== ResourceOutcome.RESOURCE_OUTCOME_REJECTED) this.#parked.delete(keyOfResult(each));
      else {
        refused.push(each);
        this.#park({ key: keyOfResult(each), version: versions.get(keyOfResult(each)) ?? "" }, each, nowMs);
      }
    }
    const held = refused.length === 0 ? inFlight.target : withDigest(withRefusals(versions, refused));
    for (const name of inFlight.push.removals) this.#acknowledgedRemovals.add(keyOf(name));
    // Both sides must agree on what is held, else the next difference would build on sand.
    this.#held = equal(result.held, held.digest) ? held : undefined;
    if (!this.#held && inFlight.push.base.length === 0) this.#stuckUntilMs = nowMs + this.#retry.baseMs;
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
    return this.#held !== undefined && equal(this.#held.digest, digestOf(versionsOf(this.#desired)));
  }

  /** What the agent does not hold and shall, but for what it refused; all of it while it is not known what it holds. */
  #dueAt(nowMs: number): Keyed[] {
    const held = this.#held?.versions;
    const due: Keyed[] = [];
    for (const entry of this.#desired.resources) {
      const [key, { version }] = entry;
      if (held?.get(key) === version) continue;
      const parked = held && this.#parked.get(key);
      if (parked?.version !== version || parked.retryAtMs <= nowMs) due.push(entry);
    }
    return due;
  }

  #park({ key, version }: { key: string; version: string }, refusal: Refusal, nowMs: number): void {
    // What was refused may have been replaced while the answer was under way, and nothing is known of its successor.
    if (this.#desired.resources.get(key)?.version !== version) return;
    const before = this.#parked.get(key);
    const attempts = before?.version === version ? before.attempts + 1 : 1;
    const waitMs = Math.min(this.#retry.capMs, this.#retry.baseMs * 2 ** (attempts - 1));
    const [code, message] = [clip(refusal.code), clip(refusal.message)];
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

const withDigest = (versions: Versions): Held => ({ versions, digest: digestOf(versions) });

const keyOfResult = ({ name }: Pick<ResourceResult, "name">): string => (name ? keyOf(name) : "");

/** The set with what the agent says it holds where it refused a version. */
function withRefusals(versions: Versions, refused: readonly ResourceResult[]): Versions {
  const changed = new Map(versions);
  for (const each of refused) {
    if (each.heldVersion.length > 0) changed.set(keyOfResult(each), each.heldVersion.toString("hex"));
    else changed.delete(keyOfResult(each));
  }
  return changed;
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
