import { ERROR_CODES, type ErrorCode } from "../../common/runtime/errors.ts";
import { clip } from "../../common/session/bounds.ts";
import { keyOf, type WireResource } from "../../common/session/resource-set.ts";
import { ResourceOutcome, type Push, type ResourceResult, type Result } from "../../proto/gen/relay/v1/relay.ts";
import { NOT_OBSERVED, type RelayObserver, type ResultOutcome } from "./observer.ts";
import type { Keyed, PushMachine } from "./push-machine.ts";

/** When a version of a resource was sent last, and answered. */
export interface Delivery {
  readonly version: string;
  readonly sentAtMs: number;
  answeredAtMs?: number;
}

/** A push as people see it. */
export interface SentPush {
  readonly bytes: number;
  readonly sentAtMs: number;
  answeredAtMs?: number;
}

/** Counts since the server was started. */
export interface PushCounts {
  sent: number;
  answered: number;
  acknowledged: number;
  rejected: number;
  wholeSets: number;
}

type Sent = ReadonlyMap<string, WireResource>;
const NOTHING_SENT: Sent = new Map();

/**
 * What was pushed to one agent and what it said to that, for people and metrics; nothing here decides what is sent. It lives
 * as long as its machine. Beside that it keeps the bytes of what the agent holds, which are those of the intent while both
 * are the same, and times of what is wanted or held: no more than one of each per resource.
 */
export class PushLedger {
  readonly machine: PushMachine;
  readonly counts: PushCounts = { sent: 0, answered: 0, acknowledged: 0, rejected: 0, wholeSets: 0 };
  readonly #observer: RelayObserver;
  readonly #contents = new Map<string, WireResource>();
  readonly #deliveries = new Map<string, Delivery>();
  #inFlight: readonly Keyed[] | undefined;
  #lastPush: SentPush | undefined;
  #lastRefusal: { readonly text: string; readonly atMs: number } | undefined;
  #wholeSetReason = "";
  /** Since when the connected agent does not hold what it shall. */
  #lateSinceMs: number | undefined;

  constructor(machine: PushMachine, observer: RelayObserver = NOT_OBSERVED) {
    this.machine = machine;
    this.#observer = observer;
  }

  /** Undefined where none was sent since the server was started. */
  get lastPush(): Readonly<SentPush> | undefined {
    return this.#lastPush;
  }

  get lastRefusal(): { readonly text: string; readonly atMs: number } | undefined {
    return this.#lastRefusal;
  }

  /** Why the agent gets, or got last, a whole set; empty when it never did. */
  get wholeSetReason(): string {
    return this.#wholeSetReason;
  }

  get isInFlight(): boolean {
    return this.#inFlight !== undefined;
  }

  delivery(key: string): Readonly<Delivery> | undefined {
    return this.#deliveries.get(key);
  }

  /** The content of this version of a resource, where it is what the agent holds or held last. */
  content(key: string, version: string): WireResource | undefined {
    const known = this.#contents.get(key);
    return known?.version === version ? known : undefined;
  }

  /** A session has begun, and the machine knows what the agent says to hold. */
  began(nowMs: number): void {
    this.#inFlight = undefined;
    this.#lateSinceMs = this.isInSync ? undefined : nowMs;
    if (!this.machine.held) this.#wholeSetReason = "what the agent held when it connected is not known here";
    this.#keepContents();
    // An answer that was lost with its session: what the agent says to hold is one, too.
    for (const [key, delivery] of this.#deliveries) {
      const isHeld = this.machine.held?.get(key) === delivery.version;
      if (isHeld) delivery.answeredAtMs ??= nowMs;
    }
  }

  /** Something else may be wanted than before. */
  wanted(nowMs: number): void {
    this.#lateSinceMs ??= nowMs;
  }

  /** The machine's push has been sent. */
  sent(push: Push, bytes: number, nowMs: number): void {
    this.#inFlight = this.machine.pushed;
    for (const [key, { version }] of this.#inFlight) this.#deliveries.set(key, { version, sentAtMs: nowMs });
    this.#lastPush = { bytes, sentAtMs: nowMs };
    this.counts.sent++;
    const isWhole = push.base.length === 0;
    if (isWhole) this.counts.wholeSets++;
    this.#observer.push(isWhole ? "whole_set" : "difference", bytes);
  }

  /** The machine has taken the agent's answer. */
  answered(result: Result, nowMs: number): void {
    const inFlight = this.#inFlight;
    this.#inFlight = undefined;
    if (!inFlight) return;
    this.counts.answered++;
    if (this.#lastPush) this.#lastPush.answeredAtMs = nowMs;
    const sent = new Map(inFlight);
    for (const each of result.results) this.#told(each, sent, nowMs);
    if (!this.machine.held) this.#disagreed(result.wantWholeSet);
    this.#keepContents(sent);
    this.#converged(nowMs);
  }

  /** The session is over. */
  ended(): void {
    this.#inFlight = undefined;
    this.#lateSinceMs = undefined;
  }

  #told({ name, outcome, code, message }: ResourceResult, sent: Sent, nowMs: number): void {
    const key = name ? keyOf(name) : "";
    // What the agent says of what was not sent to it counts for nothing.
    if (!sent.has(key)) return;
    const delivery = this.#deliveries.get(key);
    if (delivery) delivery.answeredAtMs = nowMs;
    const isRejected = outcome === ResourceOutcome.RESOURCE_OUTCOME_REJECTED;
    this.counts[isRejected ? "rejected" : "acknowledged"]++;
    if (isRejected) this.#lastRefusal = { text: `${clip(code)}: ${clip(message)}`, atMs: nowMs };
    this.#observer.result(isRejected ? codeOf(code) : outcomeOf(outcome));
  }

  #disagreed(isAskedFor: boolean): void {
    this.#wholeSetReason = isAskedFor
      ? "the agent asked for it: a push did not fit what it held"
      : "the agent's digest after a push was another one than expected";
    this.#observer.mismatch();
  }

  #converged(nowMs: number): void {
    if (this.#lateSinceMs === undefined || !this.isInSync) return;
    this.#observer.convergence(nowMs - this.#lateSinceMs);
    this.#lateSinceMs = undefined;
  }

  /** As the machine's `inSync`, without the digests: this is asked with each result. */
  get isInSync(): boolean {
    const { held, desired } = this.machine;
    if (held?.size !== desired.resources.size) return false;
    for (const [key, { version }] of desired.resources) if (held.get(key) !== version) return false;
    return true;
  }

  /** Keeps the bytes of what the agent holds, and the times of what it holds or shall hold. */
  #keepContents(sent: Sent = NOTHING_SENT): void {
    const { held, desired } = this.machine;
    if (!held) return;
    for (const [key, version] of held) {
      if (this.#contents.get(key)?.version === version) continue;
      const known = [sent.get(key), desired.resources.get(key)].find((each) => each?.version === version);
      if (known) this.#contents.set(key, known);
      else this.#contents.delete(key);
    }
    for (const key of this.#contents.keys()) if (!held.has(key)) this.#contents.delete(key);
    for (const key of this.#deliveries.keys()) {
      if (!held.has(key) && !desired.resources.has(key)) this.#deliveries.delete(key);
    }
  }
}

const codeOf = (code: string): ErrorCode | "other" =>
  Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : "other";

const outcomeOf = (outcome: ResourceOutcome): ResultOutcome =>
  outcome === ResourceOutcome.RESOURCE_OUTCOME_APPLIED ? "applied" : "pending";
