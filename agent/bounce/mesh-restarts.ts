import { isDeepStrictEqual } from "node:util";
import type { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Log } from "../../common/runtime/log.ts";
import { keyOf } from "../../common/session/resource-set.ts";
import type { HeldCertificate } from "../certs/orders.ts";
import type { Istiod } from "../discover/istiod-deployment.ts";
import { causeOf, decide, type Decision, type Directive, isSameCause } from "./decide.ts";
import { BouncedPods, type BounceReport, reportOf } from "./directive.ts";
import type { DirectiveName, DirectiveStore } from "./directive-store.ts";
import { MeshRestart } from "./mesh-restart.ts";
import type { NamespaceRoot } from "./namespace-root.ts";
import type { PodAccess } from "./pod-access.ts";
import { RestartSession } from "./restart-session.ts";
import { podsOf, wishOf } from "./wish.ts";

/** What is known of the cluster when its meshes are looked at. */
export interface RestartView {
  readonly held: readonly HeldCertificate[];
  readonly statuses: readonly IssuedCertificateStatus[];
  readonly directives: readonly Directive[];
  /** By namespace. */
  readonly roots: ReadonlyMap<string, NamespaceRoot>;
  readonly istiods: readonly Istiod[];
}

export interface MeshRestartsOptions {
  /** Namespace of the directives. */
  readonly namespace: string;
  readonly access: PodAccess;
  readonly store: DirectiveStore;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a look has shown. */
export interface Look {
  /** By `keyOf` the certificate's name; nothing for one of which no restart is or was asked for. */
  readonly reports: ReadonlyMap<string, BounceReport>;
  /** "working": look again soon. "fault": a little later. "idle": when something changed. */
  readonly pace: Pace;
}

export type Pace = "working" | "fault" | "idle";

interface Outcome {
  readonly report: BounceReport | undefined;
  readonly pace: Pace;
}

/** The restarts of all meshes of a cluster: one step each, whenever they are looked at. */
export class MeshRestarts {
  readonly #options: MeshRestartsOptions;
  readonly #sessions = new Map<string, RestartSession>();
  #view: RestartView | undefined;

  constructor(options: MeshRestartsOptions) {
    this.#options = options;
  }

  /** Goes one step on in each mesh. A fault is told in its mesh's report and leaves the others alone. */
  async look(view: RestartView, signal: AbortSignal): Promise<Look> {
    this.#view = view;
    const directives = new Map(view.directives.map((directive) => [directive.name, directive]));
    const reports = new Map<string, BounceReport>();
    const paces = new Set<Pace>();
    for (const held of view.held) {
      const { name } = held.certificate;
      if (!name || signal.aborted) continue;
      const { report, pace } = await this.#lookAt(held, directives.get(name.name), signal);
      if (report) reports.set(keyOf(name), report);
      paces.add(pace);
    }
    await this.#forget(view, signal);
    return { reports, pace: paces.has("working") ? "working" : paces.has("fault") ? "fault" : "idle" };
  }

  async #lookAt(held: HeldCertificate, directive: Directive | undefined, signal: AbortSignal): Promise<Outcome> {
    try {
      return await this.#act(held, directive, signal);
    } catch (thrown) {
      if (signal.aborted) return { report: undefined, pace: "fault" };
      const error = MeshError.from(thrown);
      this.#options.log.warn("pods cannot be restarted", { certificate: held.certificate.name?.name, err: error });
      const report = { ...reportOf(directive?.status), state: "FAILED", message: error.message } as const;
      if (directive) await this.#tryWrite(directive, report, signal);
      return { report, pace: "fault" };
    }
  }

  async #act(held: HeldCertificate, directive: Directive | undefined, signal: AbortSignal): Promise<Outcome> {
    const { namespace } = this.#options;
    const { name = "" } = held.certificate.name ?? {};
    const decision = decide(wishOf(held, this.#statusOf(held)), directive);
    if (decision.kind === "go") {
      const session = this.#sessionOf({ namespace, name }, held, decision);
      return { report: await session.step(directive, signal), pace: "working" };
    }
    this.#sessions.delete(name);
    return { report: await this.#rest(decision, directive, signal), pace: "idle" };
  }

  #statusOf({ certificate }: HeldCertificate): IssuedCertificateStatus | undefined {
    const key = certificate.name && keyOf(certificate.name);
    return this.#view?.statuses.find(({ name }) => name && keyOf(name) === key);
  }

  /** What is told where nothing is restarted now. */
  async #rest(
    decision: Exclude<Decision, { kind: "go" }>,
    directive: Directive | undefined,
    signal: AbortSignal,
  ): Promise<BounceReport | undefined> {
    if (decision.kind === "none") return undefined;
    if (decision.kind === "done") return reportOf(directive?.status);
    const message = decision.kind === "wait" ? decision.why : "no restart is asked for";
    const report: BounceReport = { ...reportOf(directive?.status), state: "PENDING", message };
    if (!directive) return report;
    const { namespace, name, spec } = directive;
    const isOther = decision.kind === "off" && !isSameCause(decision.cause, causeOf(spec));
    const now = isOther
      ? await this.#options.store.writeSpec({ namespace, name }, decision.cause, [], signal)
      : directive;
    await this.#options.store.writeStatus(now, report, BouncedPods.of(now), signal);
    return report;
  }

  #sessionOf(
    name: DirectiveName,
    held: HeldCertificate,
    { cause, reason }: Extract<Decision, { kind: "go" }>,
  ): RestartSession {
    const { access, store, clock, log } = this.#options;
    const known = this.#sessions.get(name.name);
    if (known && isSameCause(known.cause, cause) && isDeepStrictEqual(known.restart.reason, reason)) return known;
    const restart = new MeshRestart({
      ...{ access, clock, reason },
      isOfMesh: (pod) => podsOf(held, this.#view?.istiods ?? [])(pod),
      rootOf: (namespace) => this.#view?.roots.get(namespace),
    });
    const session = new RestartSession({ name, cause, restart, store, clock, log });
    this.#sessions.set(name.name, session);
    log.info("restart of pods began", { certificate: name.name, rootSha256: reason.changedRoot });
    return session;
  }

  /** A mesh that is left may come back after it had another root: then its pods are looked at anew. */
  async #forget({ held, directives }: RestartView, signal: AbortSignal): Promise<void> {
    const names = new Set(held.map(({ certificate }) => certificate.name?.name));
    for (const directive of directives.filter(({ name }) => !names.has(name))) {
      const { namespace, name, spec, request, status } = directive;
      this.#sessions.delete(name);
      const message = `no IssuedCertificate ${name} is in force here, so nothing is restarted`;
      if (status?.message === message && causeOf(spec).rootSha256 === undefined) continue;
      const cause = { rootSha256: undefined, askedMs: request?.askedMs };
      const written = this.#options.store.writeSpec({ namespace, name }, cause, [], signal);
      await this.#tryWrite(
        await written.catch(() => directive),
        { ...reportOf(undefined), state: "FAILED", message },
        signal,
      );
    }
  }

  async #tryWrite(directive: Directive, report: BounceReport, signal: AbortSignal): Promise<void> {
    const { store, log } = this.#options;
    try {
      await store.writeStatus(directive, report, BouncedPods.of(directive), signal);
    } catch (thrown) {
      const fields = { certificate: directive.name, err: MeshError.from(thrown) };
      if (!signal.aborted) log.warn("restart of pods cannot be recorded", fields);
    }
  }
}
