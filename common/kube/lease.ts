import type { Clock, Random } from "../runtime/clock.ts";
import { MeshError } from "../runtime/errors.ts";
import type { Log } from "../runtime/log.ts";
import type { KubeClient } from "./client.ts";
import { decide, type Lease, type LeaseSpec, type Observation, observe, released } from "./election.ts";
import { describePlace, resourcePath, type ResourceType } from "./resource-type.ts";

export interface LeaseOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Unique among the candidates, and new with each start of the program. */
  readonly identity: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** How long the lease outlives its holder's last sign; whole seconds, default 15 s. */
  readonly durationMs?: number;
}

/** Work that only the holder does. `term` grows with each new holder. Ends when `signal` is aborted. */
export type Lead = (signal: AbortSignal, term: number) => Promise<void>;

/** coordination.k8s.io Leases. */
export const LEASES: ResourceType = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", plural: "leases" };
/** Of the lease's life. The holder gives up before others may begin, and tries several times before that. */
const GIVE_UP = 2 / 3;
const RENEW = 1 / 5;
const RELEASE_MS = 3_000;

/** Elects one of several replicas by a Lease object. A candidate may run once. */
export class LeaseCandidate {
  readonly #options: LeaseOptions;
  readonly #durationMs: number;
  #observed: Observation | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#durationMs = options.durationMs ?? 15_000;
  }

  /**
   * Runs `lead` whenever this candidate holds the lease, until `signal` is aborted; then the lease is given up. When
   * it cannot be renewed in time, `lead` is aborted and awaited, and the candidate stands again. Throws what `lead`
   * throws, and an error of `lead` that ended unasked.
   */
  async run(lead: Lead, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    while (!signal.aborted) {
      const takenMs = await this.#try(signal);
      if (takenMs !== undefined) await this.#hold(lead, takenMs, signal);
      else await clock.sleep(this.#durationMs * RENEW * (0.5 + random()), signal).catch(() => undefined);
    }
  }

  async #hold(lead: Lead, takenMs: number, signal: AbortSignal): Promise<void> {
    const { log, name: lease, identity } = this.#options;
    const term = this.#observed?.lease.spec.leaseTransitions ?? 0;
    log.info("lease taken", { lease, identity, term });
    const lost = new AbortController();
    const held = AbortSignal.any([signal, lost.signal]);
    const renewing = this.#renew(takenMs, held).finally(() => lost.abort());
    try {
      await lead(held, term);
      if (!held.aborted) throw new MeshError("internal", `work of lease ${lease} ended without being asked to`);
    } finally {
      lost.abort();
      await renewing;
      await this.#release();
      log.info("lease left", { lease, identity, term });
    }
  }

  /** Returns when the lease is lost, or so close to it that another may soon take it. */
  async #renew(takenMs: number, signal: AbortSignal): Promise<void> {
    const { clock, log, name: lease } = this.#options;
    let renewedMs = takenMs;
    for (;;) {
      await clock.sleep(this.#durationMs * RENEW, signal).catch(() => undefined);
      const leftMs = renewedMs + this.#durationMs * GIVE_UP - clock.now();
      if (signal.aborted) return;
      const sentMs = leftMs > 0 ? await this.#within(leftMs, signal, (until) => this.#try(until)) : undefined;
      const isOurs = this.#observed?.lease.spec.holderIdentity === this.#options.identity;
      if (leftMs > 0 && isOurs) renewedMs = sentMs ?? renewedMs;
      else return log.warn("lease lost", { lease, holder: this.#observed?.lease.spec.holderIdentity });
    }
  }

  /** One attempt to take or keep it: the time since which it is surely held, or undefined when it was not got. */
  async #try(signal: AbortSignal): Promise<number | undefined> {
    const { clock, log, name: lease } = this.#options;
    // By the time of the answer another candidate has seen the write for a while already.
    const sentMs = clock.now();
    try {
      const seen = await this.#read(signal);
      this.#observed = seen && observe(this.#observed, seen, clock.now());
      const next = decide(this.#observed, { identity: this.#options.identity, durationMs: this.#durationMs }, sentMs);
      if (next.move === "wait") return undefined;
      const written = await this.#write(next.spec, signal);
      this.#observed = observe(this.#observed, written, clock.now());
      return sentMs;
    } catch (thrown) {
      const error = MeshError.from(thrown);
      // Conflict: another candidate was faster, which is what the resourceVersion is for.
      if (error.code !== "conflict" && !signal.aborted) log.warn("lease cannot be taken", { lease, err: error });
      return undefined;
    }
  }

  async #read(signal: AbortSignal): Promise<Lease | undefined> {
    const { client, namespace, name } = this.#options;
    const place = { namespace, name };
    const request = { what: `read ${describePlace(LEASES, place)}`, path: resourcePath(LEASES, place) };
    try {
      return (await client.call({ ...request, method: "GET" }, signal)) as Lease;
    } catch (thrown) {
      if (MeshError.from(thrown).code === "not_found") return undefined;
      throw thrown;
    }
  }

  /** Throws `conflict` when the lease is not any more what was observed. */
  async #write(spec: LeaseSpec, signal: AbortSignal): Promise<Lease> {
    const { client, namespace, name } = this.#options;
    const { apiVersion, kind } = LEASES;
    const what = `write ${describePlace(LEASES, { namespace, name })}`;
    const known = this.#observed?.lease;
    const body = { ...known, apiVersion, kind, metadata: known?.metadata ?? { namespace, name }, spec };
    const request = known
      ? ({ what, method: "PUT", path: resourcePath(LEASES, { namespace, name }), body } as const)
      : ({ what, method: "POST", path: resourcePath(LEASES, { namespace }), body } as const);
    return (await client.call(request, signal)) as Lease;
  }

  /** So that the next candidate need not wait for the lease to run out. */
  async #release(): Promise<void> {
    const spec = this.#observed?.lease.spec;
    const { clock, identity, log, name: lease } = this.#options;
    if (spec?.holderIdentity !== identity) return;
    try {
      const never = new AbortController().signal;
      await this.#within(RELEASE_MS, never, (until) => this.#write(released(spec, clock.now()), until));
    } catch (thrown) {
      log.warn("lease cannot be given up; it runs out", { lease, err: MeshError.from(thrown) });
    }
    this.#observed = undefined;
  }

  async #within<T>(ms: number, signal: AbortSignal, work: (until: AbortSignal) => Promise<T>): Promise<T> {
    const stop = new AbortController();
    const until = AbortSignal.any([signal, stop.signal]);
    const timer = this.#options.clock.sleep(ms, until).then(
      () => stop.abort(new MeshError("deadline_exceeded", `no answer within ${Math.round(ms)} ms`)),
      () => undefined,
    );
    try {
      return await work(until);
    } finally {
      stop.abort();
      await timer;
    }
  }
}
