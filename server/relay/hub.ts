import { randomUUID } from "node:crypto";
import type { ConnectRequest, Hello } from "../../proto/gen/relay/v1/relay.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Log } from "../../common/runtime/log.ts";
import { VERSION } from "../../common/runtime/version.ts";
import { boundNames, clip, MAX_VERSION } from "../../common/session/bounds.ts";
import type { CallContext, Send } from "../../common/session/handlers.ts";
import { ISSUED_CERTIFICATE } from "../../common/session/resource-set.ts";
import type { ClusterPrincipal } from "../identity/methods.ts";
import type { SessionStore } from "../identity/session-store.ts";
import { Admission } from "./admission.ts";
import { Agents } from "./agents.ts";
import { Fanout, type Defer } from "./fanout.ts";
import { readHello } from "./hello.ts";
import type { IntentBook } from "./intent-book.ts";
import { NOT_OBSERVED, type RelayObserver } from "./observer.ts";
import type { PushMachine } from "./push-machine.ts";
import { createPushEncoder, Session, type Outgoing, type SessionInfo } from "./session.ts";
import type { StatusBook } from "./status-book.ts";

export interface HubOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly intents: IntentBook;
  readonly statuses: StatusBook;
  /** Reasons why sessions are not served yet; empty when they are. */
  readonly notReady: () => readonly string[];
  /** False for a cluster that may not (or no longer) have a session. */
  readonly isServed: (cluster: string) => boolean;
  /** The sessions of all replicas. */
  readonly sessions: Pick<SessionStore, "begin" | "end" | "noteClockOffset" | "get" | "onChange" | "replica">;
  /** SHA-256 of the roots that are handed out now: an agent that holds others renews. */
  readonly roots?: () => Buffer;
  /** Called when a session begins or ends, or what it has acknowledged changes. */
  readonly onSessionChange: (cluster: string) => void;
  /** Counts what happens; nobody does without it. */
  readonly observer?: RelayObserver;
  readonly heartbeatMs?: number;
  /** Sessions that may begin per second; more are told when to come back. */
  readonly hellosPerSecond?: number;
  /** How the work of a fan-out is spread over the event loop. */
  readonly defer?: Defer;
}

const HEARTBEAT_MS = 20_000;
/** Half of the handshakes that one core makes: a thousand agents are back within ten seconds, and pushes go on. */
const HELLOS_PER_SECOND = 200;
/** Reconnects after a loss are spread over this time at least: more agents over the time in which all are let in. */
const MIN_SPREAD_MS = 1_000;
/** Who comes before the server is ready comes again after so long, at the earliest. */
const NOT_READY_MS = 1_000;

/** Serves the agents: one session per cluster, the newest wins. */
export class Hub {
  readonly agents: Agents;
  readonly #options: HubOptions;
  readonly #heartbeatMs: number;
  readonly #observer: RelayObserver;
  readonly #encode = createPushEncoder();
  readonly #hellosPerSecond: number;
  readonly #admission: Admission;
  readonly #fanout: Fanout;
  #draining = false;

  constructor(options: HubOptions) {
    this.#options = options;
    this.#observer = options.observer ?? NOT_OBSERVED;
    const { intents, sessions } = options;
    this.agents = new Agents({ intents, observer: this.#observer, replica: sessions.replica });
    this.#heartbeatMs = options.heartbeatMs ?? HEARTBEAT_MS;
    this.#hellosPerSecond = options.hellosPerSecond ?? HELLOS_PER_SECOND;
    this.#admission = new Admission(options.clock, this.#hellosPerSecond);
    this.#fanout = new Fanout((cluster) => this.#flush(cluster), options.defer);
    intents.onChange((cluster) => this.#intentChanged(cluster));
    sessions.onChange((cluster) => this.#review(cluster));
  }

  /** RelayService.Connect. */
  async connect(
    requests: AsyncIterable<ConnectRequest>,
    send: Send<Outgoing>,
    call: CallContext<ClusterPrincipal>,
  ): Promise<void> {
    const iterator = requests[Symbol.asyncIterator]();
    const { hello, info } = await this.#admit(iterator, call).catch((error: unknown) => {
      this.#observer.connect(MeshError.from(error).code);
      throw error;
    });
    let session: Session | undefined;
    try {
      session = this.#open(info, hello, send);
      // When the server ends the session the reader is left behind; it ends with the call.
      await Promise.race([this.#read(iterator, session), aborted(call.signal), aborted(session.ended)]);
    } catch (error) {
      // A breach of the protocol is why it ends; a call that is over is not.
      if (!call.signal.aborted) session?.end(MeshError.from(error));
      throw error;
    } finally {
      this.#closed(info, session);
    }
    session.ended.throwIfAborted();
  }

  /** Sends heartbeats, ends silent sessions and retries what was parked, until `signal` is aborted; then drains. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(this.#heartbeatMs / 4, signal).catch(() => undefined);
      const now = clock.now();
      for (const session of this.agents.open) this.#tick(session, now);
    }
    this.drain("the server stops");
  }

  /** Asks all agents to come back elsewhere or later; new ones are refused from now on. */
  drain(reason: string): void {
    this.#draining = true;
    const within = { seconds: BigInt(Math.ceil(this.#spreadMs() / 1000)), nanos: 0 };
    for (const session of this.agents.open) session.send({ $case: "drain", value: { reason, within } });
  }

  /** Ends a cluster's session; true when there was one. */
  close(cluster: string, reason: MeshError): boolean {
    const session = this.agents.sessionOf(cluster);
    session?.end(reason);
    return session !== undefined;
  }

  /** Reads the hello and records the session, if it may begin now. */
  async #admit(
    requests: AsyncIterator<ConnectRequest>,
    call: CallContext<ClusterPrincipal>,
  ): Promise<{ readonly hello: Hello; readonly info: SessionInfo }> {
    const hello = await readHello(requests, this.#options.clock, call.signal);
    this.#checkServing();
    await this.#admission.enter(call.principal.cluster, call.signal);
    this.#checkServing();
    return { hello, info: await this.#begin(hello, call) };
  }

  #checkServing(): void {
    const reasons = this.#draining ? ["the server stops"] : this.#options.notReady();
    if (reasons.length > 0) {
      throw new MeshError("unavailable", `not serving: ${reasons.join("; ")}`, { retryAfterMs: NOT_READY_MS });
    }
  }

  /** Records the session for all replicas: from here on every older one of the cluster is over. */
  async #begin(hello: Hello, { principal, peer }: CallContext<ClusterPrincipal>): Promise<SessionInfo> {
    const { notAfterMs: certificateNotAfterMs, serial: certificateSerial } = principal.peer;
    const begun = {
      cluster: principal.cluster,
      sessionId: randomUUID(),
      peer,
      agentVersion: clip(hello.agentVersion, MAX_VERSION),
      connectedAtMs: this.#options.clock.now(),
    };
    const epoch = await this.#options.sessions.begin(begun, hello.instanceId);
    const capabilities = boundNames(hello.capabilities);
    return { ...begun, epoch, certificateNotAfterMs, certificateSerial, capabilities };
  }

  #open(info: SessionInfo, hello: Hello, send: Send<Outgoing>): Session {
    const { clock, log, intents, isServed, roots } = this.#options;
    const { cluster, sessionId, epoch, peer } = info;
    // Asked at the last moment: a revocation while the hello was awaited found no session to end.
    if (!isServed(cluster)) throw notServed(cluster);
    const other = this.agents.sessionOf(cluster);
    if (other && other.info.epoch > epoch) throw superseded(cluster);
    other?.end(superseded(cluster));
    const ledger = this.agents.takeLedger(cluster);
    const { machine } = ledger;
    const session = new Session(info, { send, machine, ledger, encode: this.#encode, now: () => clock.now(), roots });
    this.agents.enter(session);
    machine.want(intents.get(cluster));
    const held = hello.held.find(({ type }) => type === ISSUED_CERTIFICATE)?.digest;
    machine.begin(held ?? Buffer.alloc(0), info.agentVersion);
    ledger.began(clock.now());
    this.#observer.connect("ok");
    session.send({ $case: "welcome", value: this.#welcome(sessionId, epoch) });
    session.tellRoots();
    session.flush();
    log.info("session began", { cluster, session: sessionId, epoch: String(epoch), peer });
    this.#options.onSessionChange(cluster);
    return session;
  }

  #welcome(sessionId: string, epoch: bigint) {
    return {
      sessionId,
      epoch,
      heartbeatInterval: duration(this.#heartbeatMs),
      serverTime: new Date(this.#options.clock.now()),
      serverVersion: VERSION,
      capabilities: [],
      reconnectSpread: duration(this.#spreadMs()),
    };
  }

  /** Reads until the agent ends the stream. A breach of the protocol is thrown. */
  async #read(iterator: AsyncIterator<ConnectRequest>, session: Session): Promise<void> {
    const { cluster } = session.info;
    for (;;) {
      const next = await iterator.next();
      if (next.done || session.ended.aborted) return;
      session.receive(next.value);
      const { message } = next.value;
      if (message?.$case === "status") this.#options.statuses.take(cluster, message.value);
      if (message?.$case === "result") this.#acknowledged(cluster);
      if (message?.$case === "heartbeat") this.#options.sessions.noteClockOffset(session.info, session.clockOffsetMs);
    }
  }

  #acknowledged(cluster: string): void {
    const machine = this.#machine(cluster);
    if (machine) {
      this.#options.intents.forgetRemovals(cluster, machine.acknowledgedRemovals);
      // The machine forgets them too: the next removal of the same name is another one.
      machine.want(this.#options.intents.get(cluster));
    }
    this.#options.onSessionChange(cluster);
  }

  #machine(cluster: string): PushMachine | undefined {
    return this.agents.ledgerOf(cluster)?.machine;
  }

  #intentChanged(cluster: string): void {
    if (this.agents.isConnected(cluster)) this.agents.ledgerOf(cluster)?.wanted(this.#options.clock.now());
    this.#fanout.mark(cluster);
  }

  #flush(cluster: string): void {
    const machine = this.#machine(cluster);
    machine?.want(this.#options.intents.get(cluster));
    this.agents.sessionOf(cluster)?.flush();
  }

  #tick(session: Session, now: number): void {
    const fault = session.faultAt(now, this.#heartbeatMs);
    if (fault) return session.end(fault);
    session.tellRoots();
    if (now - session.lastSentMs >= this.#heartbeatMs) session.heartbeat();
    const retryAt = this.#machine(session.info.cluster)?.retryAtMs();
    if (retryAt !== undefined && retryAt <= now) session.flush();
  }

  /** Ends a session that is over by what was recorded of its cluster, at whatever replica, or with kubectl. */
  #review(cluster: string): void {
    const session = this.agents.sessionOf(cluster);
    if (!session) return;
    const recorded = this.#options.sessions.get(cluster);
    if (recorded && session.info.epoch < recorded.epoch) session.end(superseded(cluster));
    if (!this.#options.isServed(cluster)) session.end(notServed(cluster));
  }

  /** `session` is undefined for one that was recorded and then not let in. */
  #closed(info: SessionInfo, session: Session | undefined): void {
    const { cluster, sessionId } = info;
    const reason = session?.ended.aborted ? MeshError.from(session.ended.reason) : undefined;
    this.#options.log.info("session ended", { cluster, session: sessionId, ...(reason ? { err: reason } : {}) });
    if (session) {
      this.agents.leave(session);
      this.#observer.disconnect(reason?.code ?? "left");
    }
    this.#options.sessions.end(info, reason?.message ?? "the agent left, or the connection to it broke");
    this.#options.onSessionChange(cluster);
  }

  /** By all agents there may be, and not by those that are connected: the first to come back is told of the others. */
  #spreadMs(): number {
    const fleet = Math.max(this.agents.known, this.#options.intents.size);
    return Math.max(MIN_SPREAD_MS, (fleet * 1000) / this.#hellosPerSecond);
  }
}

const superseded = (cluster: string): MeshError => new MeshError("canceled", `a newer session of ${cluster} took over`);

/** Why a cluster that is revoked, or not registered any more, has no session. */
export const notServed = (cluster: string): MeshError =>
  new MeshError("permission_denied", `cluster ${cluster} is revoked, or not registered any more`, {
    hint: `register it again: meshctl cluster register ${cluster} --renew-token`,
  });

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

function duration(ms: number): { seconds: bigint; nanos: number } {
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: Math.round((ms % 1000) * 1e6) };
}
