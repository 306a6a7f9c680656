import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Log } from "../../common/runtime/log.ts";
import { causeOf, type Cause, type Directive, isSameCause } from "./decide.ts";
import { BouncedPods, type BounceReport } from "./directive.ts";
import type { DirectiveStore } from "./directive-store.ts";
import type { MeshRestart } from "./mesh-restart.ts";
import { announce, tellEnd, tellProgress } from "./messages.ts";

export interface RestartSessionOptions {
  readonly name: { readonly namespace: string; readonly name: string };
  readonly cause: Cause;
  readonly restart: MeshRestart;
  readonly store: DirectiveStore;
  readonly clock: Clock;
  readonly log: Log;
}

/** All pods are listed for a plan: at most this share of the time goes into that, and it is not done more often than this. */
const PLANNING_SHARE = 1 / 20;
const REPLAN_MS = 2_000;
/** Without a step forward for so long, people are told that it goes no further. */
const STALLED_MS = 10 * 60_000;

/**
 * One mesh's restart with its directive: what is planned is recorded and announced before the first pod is touched, and what
 * is done is recorded as it is done.
 */
export class RestartSession {
  readonly #options: RestartSessionOptions;
  #directive: Directive | undefined;
  #bounced = new BouncedPods();
  #restarted = 0;
  #isAnnounced = false;
  #isEndTold = false;
  #replanAtMs = 0;
  /** How far it was when it last came further, and when that was. */
  #mark = { text: "", atMs: 0 };

  constructor(options: RestartSessionOptions) {
    this.#options = options;
  }

  get restart(): MeshRestart {
    return this.#options.restart;
  }

  get cause(): Cause {
    return this.#options.cause;
  }

  /** One step; `stored` is the directive as it was seen last. Throws what the API server refuses. */
  async step(stored: Directive | undefined, signal: AbortSignal): Promise<BounceReport> {
    const hasPlanned = await this.#plan(signal);
    const directive = await this.#record(stored, signal);
    if (!hasPlanned && this.#isAnnounced) await this.#advance(signal);
    const report = this.#report();
    this.#tellEnd(report);
    try {
      await this.#options.store.writeStatus(directive, report, this.#bounced, signal);
    } catch (thrown) {
      // Somebody deleted it: the next step makes it again.
      if (MeshError.from(thrown).code === "not_found") this.#directive = undefined;
      throw thrown;
    }
    this.#isAnnounced = true;
    return report;
  }

  async #plan(signal: AbortSignal): Promise<boolean> {
    const { restart, clock } = this.#options;
    const beginMs = clock.now();
    const isWanted = restart.plan === undefined || restart.hasNews || restart.isPlanDone;
    if (!isWanted || restart.isDone || beginMs < this.#replanAtMs) return false;
    await restart.replan(signal);
    this.#replanAtMs = clock.now() + Math.max(REPLAN_MS, (clock.now() - beginMs) / PLANNING_SHARE);
    return true;
  }

  /** Writes the spec unless it is what is wanted, and takes up what its status tells of an earlier run. */
  async #record(stored: Directive | undefined, signal: AbortSignal): Promise<Directive> {
    const { name, cause, restart, store } = this.#options;
    // The watch sees a little later what was written here.
    const own = this.#directive;
    const known = own && (stored?.generation ?? 0) <= own.generation ? own : stored;
    if (known && isSameCause(causeOf(known.spec), cause)) {
      if (!own) this.#resume(known);
      return (this.#directive = known);
    }
    const written = await store.writeSpec(name, cause, restart.plan?.all ?? [], signal);
    this.#bounced = BouncedPods.of({ spec: written.spec, status: undefined });
    this.#isAnnounced = false;
    return (this.#directive = written);
  }

  #resume(directive: Directive): void {
    const { status, generation } = directive;
    if (status?.observedGeneration !== generation) return;
    this.#bounced = BouncedPods.of(directive);
    this.#restarted = status.restarted ?? 0;
    this.#isAnnounced = true;
  }

  async #advance(signal: AbortSignal): Promise<void> {
    const { restart, name, log } = this.#options;
    for (const { group, pod } of await restart.advance(signal)) {
      this.#bounced.add(group, pod.name);
      this.#restarted += 1;
      log.info("pod restarted", { certificate: name.name, pod: `${pod.namespace}/${pod.name}`, of: group.key });
    }
  }

  #report(): BounceReport {
    const { restart } = this.#options;
    const { remaining, unmanaged, isDone, isForbidden } = restart;
    const restarted = this.#restarted;
    const common = { restarted, remaining, unmanaged };
    if (isDone) return { ...common, state: "FINISHED", message: tellEnd(restarted, unmanaged.length) };
    const message = restarted > 0 ? tellProgress(restart, restarted) : announce(restart);
    if (this.#isStalled()) return { ...common, state: "FAILED", message: `it came no further for 10 min; ${message}` };
    const state = restarted > 0 ? "BOUNCING_PODS" : "PENDING";
    return { ...common, state: isForbidden ? "FAILED" : state, message };
  }

  #tellEnd({ state, message }: BounceReport): void {
    if (state !== "FINISHED" || this.#isEndTold) return;
    this.#isEndTold = true;
    this.#options.log.info("restart of pods finished", { certificate: this.#options.name.name, reason: message });
  }

  #isStalled(): boolean {
    const { restart, clock } = this.#options;
    const text = [
      this.#restarted,
      restart.remaining,
      restart.groups.filter(({ stage }) => stage === "done").length,
    ].join();
    if (text !== this.#mark.text) this.#mark = { text, atMs: clock.now() };
    return clock.now() - this.#mark.atMs >= STALLED_MS;
  }
}
