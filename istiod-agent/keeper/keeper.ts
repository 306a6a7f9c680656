import type { ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Order } from "../../proto/gen/istiod/v1/istiod.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { Installer } from "../install/installer.ts";
import type { Issued } from "../issue/obtain.ts";
import type { IssueOrder } from "../issue/order.ts";
import type { SigningCa } from "../issue/signing-ca.ts";
import type { OrderState } from "../link/order-state.ts";
import type { ProofOutcome } from "../prove/outcome.ts";
import { decide, type Action, type IssueCause } from "./decide.ts";
import { requestKey, toIssueOrder, type Obeyer } from "./issue-order.ts";
import { readIssueRecord, writeIssueRecord } from "./record.ts";
import { Retries } from "./retries.ts";
import { orderOf, situationOf, toStatus, wantedOf, type HeldCa, type KeeperState } from "./state.ts";

/** Asks istiod whether it signs with `ca`. `fresh`: istiod was not asked since it was installed, so it gets some time. */
export type Prove = (ca: SigningCa, fresh: boolean, signal: AbortSignal) => Promise<ProofOutcome>;

export interface KeeperOptions extends Obeyer {
  /** The directory that istiod reads. */
  readonly directory: string;
  readonly orders: Latest<OrderState>;
  readonly obtain: (order: IssueOrder, signal: AbortSignal) => Promise<Issued>;
  /** Called with the outcome of each attempt: "ok" or an error code. */
  readonly onAttempt: (outcome: string) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What a keeper works with once the directory is open. Without `prove`, istiod is not asked. */
export interface Workplace {
  readonly installer: Installer;
  readonly prove?: Prove;
}

/** How often a pod that has no CA yet says what it waits for. */
const NOTICE_INTERVAL_MS = 15_000;
/** When to ask istiod again that does not listen yet: it starts once the files are there. Or that signs with another CA. */
const PROVE_ABSENT_MS = 1_000;
const PROVE_AGAIN_MS = 60_000;

/**
 * Keeps one directory supplied with a CA as the order wants it. What to do is decided in `decide`; this does it, one
 * thing at a time, and publishes what came of it.
 */
export class Keeper {
  readonly states: Latest<KeeperState>;
  readonly statuses: Latest<ReplicaStatus>;
  readonly #options: KeeperOptions;
  readonly #retries: Retries;
  #state: KeeperState;
  #noticeAtMs = 0;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#retries = new Retries(options.random);
    const order = options.orders.value ?? { kind: "waiting", reason: "not linked yet" };
    this.#state = { order, held: undefined, failure: undefined, issuing: false };
    this.states = new Latest(this.#state);
    this.statuses = new Latest(toStatus(this.#state, options.pod, options.directory));
  }

  /** Shows a fault that stands before any work, such as a directory that cannot be opened. */
  showFault(error: MeshError, retryInMs: number): void {
    const retryAtMs = this.#options.clock.now() + retryInMs;
    this.#update({ failure: { error, version: undefined, retryAtMs } });
  }

  /** Takes over the CA that lies in the directory, if it is sound. */
  async adopt({ installer, prove }: Workplace): Promise<void> {
    const { clock, log, directory } = this.#options;
    const found = await installer.adopt();
    if (found.kind === "none") {
      log.info("no certificate to adopt", { reason: found.reason });
      return this.#update({ failure: undefined });
    }
    const { ca } = found;
    const record = await readIssueRecord(directory, ca.facts.serial);
    this.#update({
      failure: undefined,
      held: {
        ca,
        request: record?.request,
        orderVersion: Buffer.from(record?.orderVersion ?? "", "hex"),
        vaultServer: record?.vaultServer ?? "",
        warnings: record?.warnings ?? [],
        proof: undefined,
        proveAtMs: prove ? clock.now() : undefined,
      },
    });
    log.info("adopted the certificate found", factsOf(ca));
  }

  /** Works until there is a CA in the directory. */
  async runUntilHeld(workplace: Workplace, signal: AbortSignal): Promise<void> {
    while (!this.#state.held) await this.#step(workplace, signal);
  }

  /** Works until `signal` is aborted; then it rejects with its reason. */
  async run(workplace: Workplace, signal: AbortSignal): Promise<never> {
    for (;;) await this.#step(workplace, signal);
  }

  async #step(workplace: Workplace, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { orders, pod, clock } = this.#options;
    if (orders.value && orders.value !== this.#state.order) this.#update({ order: orders.value });
    const action: Action = decide(situationOf(this.#state, pod, clock.now()));
    switch (action.kind) {
      case "issue":
        return this.#issue(action.cause, workplace, signal);
      case "prove":
        return this.#prove(workplace, signal);
      case "wait":
        return this.#wait(action.untilMs, signal);
    }
  }

  async #issue(cause: IssueCause, workplace: Workplace, signal: AbortSignal): Promise<void> {
    const { log, clock, onAttempt } = this.#options;
    const order = orderOf(this.#state);
    if (!order?.certificate) return;
    const version = order.version.toString("hex");
    this.#update({ issuing: true });
    try {
      const held = await this.#obtainAndInstall(order, requestKey(order.certificate), workplace, signal);
      log.info("installed a certificate", { cause, ...factsOf(held.ca), warnings: held.warnings });
      this.#retries.reset();
      onAttempt("ok");
      this.#update({ issuing: false, failure: undefined, held });
    } catch (thrown) {
      signal.throwIfAborted();
      const error = MeshError.from(thrown);
      const waitMs = this.#retries.next(error);
      log.warn("no certificate obtained; trying again", { cause, retryInMs: Math.round(waitMs), err: error });
      onAttempt(error.code);
      this.#update({ issuing: false, failure: { error, version, retryAtMs: clock.now() + waitMs } });
    }
  }

  async #obtainAndInstall(
    order: Order,
    request: string,
    { installer, prove }: Workplace,
    signal: AbortSignal,
  ): Promise<HeldCa> {
    const { obtain, log, clock } = this.#options;
    const issueOrder = { ...toIssueOrder(order, this.#options), expectedRootSha256: onlyRootOf(installer) };
    const { warnings, vaultWarnings, ...ca } = await obtain(issueOrder, signal);
    if (vaultWarnings.length > 0) log.info("vault remarked", { remarks: vaultWarnings });
    installer.install(ca);
    const held = {
      ca,
      request,
      orderVersion: order.version,
      vaultServer: issueOrder.vault.server,
      warnings,
      proof: undefined,
      proveAtMs: prove ? clock.now() : undefined,
    };
    await this.#remember(held);
    return held;
  }

  /** Without the record a restart takes the CA for what is wanted; it is in force all the same. */
  async #remember({ ca, request, orderVersion, vaultServer, warnings }: HeldCa & { request: string }): Promise<void> {
    const { serial } = ca.facts;
    const record = {
      serial,
      request,
      orderVersion: orderVersion.toString("hex"),
      vaultServer,
      warnings: [...warnings],
    };
    await writeIssueRecord(this.#options.directory, record).catch((error: unknown) => {
      this.#options.log.warn("cannot note what the certificate was issued for", { err: error });
    });
  }

  async #prove({ prove }: Workplace, signal: AbortSignal): Promise<void> {
    const { held } = this.#state;
    if (!held || !prove) return;
    const fresh = held.proof === undefined || held.proof.kind === "absent";
    const proof = await this.#untilOrderChanges(signal, (stop) => prove(held.ca, fresh, stop));
    if (proof) this.#update({ held: { ...held, proof, proveAtMs: this.#proveNext(proof, held.proof) } });
  }

  #proveNext(proof: ProofOutcome, before: ProofOutcome | undefined): number | undefined {
    const { log, clock } = this.#options;
    if (proof.kind === "proved") {
      log.info("istiod signs with the certificate", { evidence: proof.evidence });
      return undefined;
    }
    if (proof.kind !== before?.kind) log.warn("not proved that istiod signs with the certificate", { why: proof.why });
    return clock.now() + (proof.kind === "absent" ? PROVE_ABSENT_MS : PROVE_AGAIN_MS);
  }

  async #wait(untilMs: number, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const { held, order } = this.#state;
    const nowMs = clock.now();
    if (!held && order.kind === "waiting" && nowMs >= this.#noticeAtMs) {
      log.info("waiting for an order", { reason: order.reason });
      this.#noticeAtMs = nowMs + NOTICE_INTERVAL_MS;
    }
    const wakeAtMs = held ? untilMs : Math.min(untilMs, nowMs + NOTICE_INTERVAL_MS);
    await this.#untilOrderChanges(signal, (stop) => clock.sleep(wakeAtMs - nowMs, stop));
  }

  /** Does interruptible work; undefined when a new order came first, and then the work was aborted. */
  async #untilOrderChanges<T>(signal: AbortSignal, work: (stop: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const over = new AbortController();
    const stop = AbortSignal.any([signal, over.signal]);
    const changed = this.#options.orders.until((order) => !sameOrder(order, this.#state.order), stop);
    try {
      return await Promise.race([work(stop), changed.then(() => undefined)]);
    } finally {
      over.abort();
    }
  }

  #update(change: Partial<KeeperState>): void {
    this.#state = { ...this.#state, ...change };
    const { version } = this.#state.failure ?? {};
    if (version !== undefined && version !== wantedOf(this.#state)?.version) {
      // A fault of an order that is no longer in force says nothing any more.
      this.#retries.reset();
      this.#state = { ...this.#state, failure: undefined };
    }
    this.states.set(this.#state);
    this.statuses.set(toStatus(this.#state, this.#options.pod, this.#options.directory));
  }
}

/** The root that a new CA must end in; any that is installed while there are several, or none. */
function onlyRootOf(installer: Installer): string | undefined {
  const sha256s = installer.installedRoot()?.sha256s ?? [];
  return sha256s.length === 1 ? sha256s[0] : undefined;
}

function sameOrder(one: OrderState, other: OrderState): boolean {
  if (one.kind === "order" && other.kind === "order") return one.order.version.equals(other.order.version);
  return one.kind === other.kind && one.kind === "waiting" && other.kind === "waiting" && one.reason === other.reason;
}

function factsOf({ facts }: SigningCa): Readonly<Record<string, string>> {
  const { serial, issuer, rootSha256, notAfterMs } = facts;
  return { serial, issuer, rootSha256, notAfter: new Date(notAfterMs).toISOString() };
}
