import { randomUUID } from "node:crypto";
import type { ConnectResponse, Push, RenewCertificateResponse, Welcome } from "../../proto/gen/relay/v1/relay.ts";
import type { Duration } from "../../proto/gen/google/protobuf/duration.ts";
import type { Discovery } from "../../proto/gen/discovery/v1/discovery.ts";
import type { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { type ErrorCode, MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { Backoff } from "../../common/runtime/retry.ts";
import { VERSION } from "../../common/runtime/version.ts";
import { soundTime } from "../../common/session/bounds.ts";
import { ISSUED_CERTIFICATE } from "../../common/session/resource-set.ts";
import type { AgentCredentials } from "../identity/documents.ts";
import type { IntentHolder } from "../apply/intent-holder.ts";
import type { RelayChannel, RelayStream } from "./relay-channel.ts";
import { type PodBounces, StatusDiff } from "./status-diff.ts";

/** Where the agent stands with the management server. */
export type RelayState =
  | { readonly kind: "offline"; readonly sinceMs: number; readonly error?: MeshError }
  | {
      readonly kind: "connected";
      readonly sinceMs: number;
      readonly sessionId: string;
      readonly clockOffsetMs: number;
    };

/** The agent's certificate, and what has to be known of its fate. */
export interface ClientIdentity {
  current(): AgentCredentials;
  confirm(used: AgentCredentials): Promise<void>;
  refused(used: AgentCredentials): Promise<boolean>;
  heardRoots(digest: Buffer, spreadMs: number): void;
}

export interface RelayClientOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly identity: ClientIdentity;
  /** Makes a channel to the management server. */
  readonly dial: (credentials: AgentCredentials) => RelayChannel;
  readonly intent: IntentHolder;
  readonly report: ReportSources;
  /** Counts what happens; nobody does without it. */
  readonly observer?: RelayClientObserver;
}

/** What metrics count of the session with the server. */
export interface RelayClientObserver {
  /** A session, or the attempt at one, has ended for this reason; the agent tries again. */
  reconnect(reason: ErrorCode): void;
  /** A push was stored, or refused, so long after it came. */
  applied(ms: number): void;
}

/** What the server is told, always the newest. */
export interface ReportSources {
  readonly statuses: Latest<readonly IssuedCertificateStatus[]>;
  readonly podBounces: Latest<PodBounces>;
  readonly discovery: Latest<Discovery>;
}

/** Beyond it certificates are taken for expired, or not valid yet, too early or too late: somebody should look. */
const MAX_SKEW_MS = 60_000;
/** The waits of a large fleet grow further, to the time over which the server spreads it: it cannot let in more. */
const BACKOFF = { baseMs: 300, capMs: 5_000 };
const MISSED_HEARTBEATS = 3;
/** Until the server has said how often: a server that does not greet is given up like one that falls silent. */
const FIRST_HEARTBEAT_MS = 10_000;
const HEARTBEAT_BOUNDS_MS = { min: 1_000, max: 60_000 };
/** A status that never rests costs no more than ten messages a second. */
const STATUS_REST_MS = 100;
/** Whatever the server says: nobody stays away for longer. */
const MAX_SPREAD_MS = 5 * 60_000;

/** One stream that is open, with all that ends with it. */
interface LiveSession {
  readonly stream: RelayStream;
  readonly stop: AbortController;
  readonly channel: RelayChannel;
  readonly credentials: AgentCredentials;
  readonly onSettled: () => void;
  readonly tasks: Promise<void>[];
  lastHeardMs: number;
  heartbeatMs: number;
  isWelcome: boolean;
}

/**
 * Holds the session with the management server: dials, applies what is pushed, sends status, and comes back after a
 * loss. The last intent stays in force all the while; nothing here ever waits for the server to do the agent's work.
 */
export class RelayClient {
  readonly state: Latest<RelayState>;
  readonly #options: RelayClientOptions;
  /** New with each client, so with each term of a leader: who leads again is told from a clone that comes back. */
  readonly #instanceId = randomUUID();
  #spreadMs = 0;
  #channel: RelayChannel | undefined;
  #used: AgentCredentials | undefined;
  #leave: ((reason: MeshError) => void) | undefined;

  constructor(options: RelayClientOptions) {
    this.#options = options;
    this.state = new Latest<RelayState>({ kind: "offline", sinceMs: options.clock.now() });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log, observer } = this.#options;
    const backoff = new Backoff({ ...BACKOFF, random });
    for (;;) {
      const progress = { settled: false };
      const onSettled = (): void => {
        progress.settled = true;
        backoff.reset();
      };
      const error = await this.#session(signal, onSettled).catch((thrown: unknown) => MeshError.from(thrown));
      if (signal.aborted) return;
      const lost = this.state.value?.kind === "connected";
      const spreadMs = lost ? random() * this.#spreadMs : 0;
      const capMs = Math.max(BACKOFF.capMs, this.#spreadMs);
      const waitMs = Math.max(spreadMs, progress.settled ? 0 : backoff.next(error.retryAfterMs, capMs));
      this.state.set({ kind: "offline", sinceMs: clock.now(), error });
      observer?.reconnect(error.code);
      log.warn(lost ? "session lost" : "no session", { err: error, retryInMs: Math.round(waitMs) });
      await clock.sleep(waitMs, signal).catch(() => undefined);
    }
  }

  /** Ends a session that was made with other credentials, so that the next one shows these. */
  reconnectUnless(credentials: AgentCredentials): void {
    if (this.#used && this.#used !== credentials) {
      this.#leave?.(new MeshError("unavailable", "the client certificate was renewed"));
    }
  }

  /** Renews the client certificate over the live connection; `unavailable` while there is none. */
  async renewCertificate(certificateSigningRequest: string, signal: AbortSignal): Promise<RenewCertificateResponse> {
    if (!this.#channel) throw new MeshError("unavailable", "not connected to the management server");
    return this.#channel.renew({ certificateSigningRequest }, signal);
  }

  /**
   * One session from dial to its end, which is always an error: nobody else ends it well. `onSettled` is called once it
   * has done something useful or lived for a heartbeat: a server that greets and drops must not be dialled without end.
   */
  async #session(signal: AbortSignal, onSettled: () => void): Promise<never> {
    const stop = new AbortController();
    const { identity, dial, clock } = this.#options;
    const hello = await this.#hello();
    const credentials = identity.current();
    this.#used = credentials;
    const channel = dial(credentials);
    this.#leave = (reason) => stop.abort(reason);
    const stream = channel.connect(AbortSignal.any([signal, stop.signal]));
    const common = { stream, stop, channel, credentials, onSettled };
    const liveness = { lastHeardMs: clock.now(), heartbeatMs: FIRST_HEARTBEAT_MS, isWelcome: false };
    const session: LiveSession = { ...common, ...liveness, tasks: [] };
    session.tasks.push(this.#keepAlive(session));
    try {
      stream.write({ message: { $case: "hello", value: hello } });
      for await (const { message } of stream.messages()) {
        session.lastHeardMs = clock.now();
        if (message) await this.#handle(message, session);
      }
      throw new MeshError("unavailable", "the server ended the session");
    } catch (error) {
      if (MeshError.from(error).code === "unauthenticated") await identity.refused(credentials);
      throw error;
    } finally {
      stop.abort(new MeshError("canceled", "the session is over"));
      this.#channel = undefined;
      this.#leave = undefined;
      await Promise.all(session.tasks);
      channel.close();
    }
  }

  /** Takes one message of the server; one that a newer server invented is not known here and passes. */
  async #handle(message: NonNullable<ConnectResponse["message"]>, session: LiveSession): Promise<void> {
    switch (message.$case) {
      case "welcome":
        return this.#welcomed(message.value, session);
      case "push":
        session.stream.write({ message: { $case: "result", value: await this.#apply(message.value) } });
        return session.onSettled();
      case "heartbeat":
        this.#heard(message.value.time);
        return session.onSettled();
      case "roots":
        return this.#options.identity.heardRoots(message.value.sha256, this.#spreadMs);
      case "drain":
        this.#spreadMs = Math.max(this.#spreadMs, spreadOf(message.value.within));
        throw new MeshError("unavailable", `the server asks to reconnect: ${message.value.reason}`);
    }
  }

  async #hello() {
    const held = [{ type: ISSUED_CERTIFICATE, digest: await this.#options.intent.digest() }];
    return { agentVersion: VERSION, instanceId: this.#instanceId, capabilities: [], held };
  }

  async #welcomed(welcome: Welcome, session: LiveSession): Promise<void> {
    const { sessionId, serverTime, heartbeatInterval, serverVersion } = welcome;
    const { stream, stop, channel, credentials, tasks } = session;
    const now = this.#options.clock.now();
    this.#channel = channel;
    this.#spreadMs = spreadOf(welcome.reconnectSpread);
    const { min, max } = HEARTBEAT_BOUNDS_MS;
    if (heartbeatInterval) session.heartbeatMs = Math.min(max, Math.max(min, millisecondsOf(heartbeatInterval)));
    session.isWelcome = true;
    const clockOffsetMs = (soundTime(serverTime)?.getTime() ?? now) - now;
    this.state.set({ kind: "connected", sinceMs: now, sessionId, clockOffsetMs });
    this.#options.log.info("session began", { session: sessionId, serverVersion, clockOffsetMs });
    if (Math.abs(clockOffsetMs) > MAX_SKEW_MS)
      this.#options.log.warn("server and agent differ in time", { clockOffsetMs });
    tasks.push(this.#sendStatus(stream, stop.signal).catch((error: unknown) => stop.abort(MeshError.from(error))));
    await this.#options.identity.confirm(credentials);
  }

  #heard(time: Date | undefined): void {
    const serverTime = soundTime(time);
    const state = this.state.value;
    if (!serverTime || state?.kind !== "connected") return;
    this.state.set({ ...state, clockOffsetMs: serverTime.getTime() - this.#options.clock.now() });
  }

  async #apply(push: Push) {
    const { clock, intent, observer } = this.#options;
    const begunMs = clock.now();
    const result = await intent.apply(push);
    observer?.applied(clock.now() - begunMs);
    const { type, id, upserts, removals } = push;
    const fields = { type, push: String(id), upserts: upserts.length, removals: removals.length };
    if (result.wantWholeSet) this.#options.log.warn("push does not fit, asking for the whole set", fields);
    else this.#options.log.info("push applied", fields);
    return result;
  }

  /** Sends what changed since the last status of this session: the first at once, then what has gathered meanwhile. */
  async #sendStatus(stream: RelayStream, signal: AbortSignal): Promise<void> {
    const { statuses, podBounces, discovery } = this.#options.report;
    const diff = new StatusDiff();
    for await (const _ of Latest.changes([statuses, podBounces, discovery], signal)) {
      const status = diff.next({
        certificates: statuses.value ?? [],
        podBounces: podBounces.value ?? new Map(),
        discovery: discovery.value,
      });
      const hasRoom = !status || stream.write({ message: { $case: "status", value: status } });
      if (!hasRoom) await stream.drained(signal);
      if (status) await this.#options.clock.sleep(STATUS_REST_MS, signal).catch(() => undefined);
    }
  }

  /** Gives signs of life, and ends the session when the server gives none. */
  async #keepAlive(session: LiveSession): Promise<void> {
    const { stream, stop } = session;
    const { clock } = this.#options;
    for (;;) {
      const slept = await clock.sleep(session.heartbeatMs, stop.signal).then(
        () => true,
        () => false,
      );
      if (!slept) return;
      const silentMs = clock.now() - session.lastHeardMs;
      if (silentMs > session.heartbeatMs * MISSED_HEARTBEATS) {
        stop.abort(new MeshError("unavailable", `nothing was heard of the server for ${silentMs} ms`));
        return;
      }
      if (session.isWelcome) stream.write({ message: { $case: "heartbeat", value: { time: new Date(clock.now()) } } });
    }
  }
}

const millisecondsOf = ({ seconds, nanos }: Duration): number => Number(seconds) * 1000 + nanos / 1e6;

const spreadOf = (spread: Duration | undefined): number =>
  Math.min(MAX_SPREAD_MS, Math.max(0, spread ? millisecondsOf(spread) : 0));
