import { ConnectResponse, type ConnectRequest } from "../../proto/gen/relay/v1/relay.ts";
import { clip, soundTime } from "../../common/session/bounds.ts";
import { encodeMessage } from "../../common/session/encode.ts";
import type { Send } from "../../common/session/handlers.ts";
import { keyOf, type Versions } from "../../common/session/resource-set.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { NewSession } from "../identity/session-store.ts";
import type { PushLedger } from "./push-ledger.ts";
import type { Parked, PushMachine } from "./push-machine.ts";

/** A message down, as an object or encoded already. */
export type Outgoing = ConnectResponse | Buffer;

export interface SessionInfo extends NewSession {
  readonly epoch: bigint;
  readonly certificateNotAfterMs: number;
  /** Serial number of the client certificate: upper-case hex. */
  readonly certificateSerial: string;
  /** What the agent said that it can do. */
  readonly capabilities: readonly string[];
}

/** What a session that is held here knows of its agent. */
export interface LiveSession {
  readonly epoch: bigint;
  /** Version (hex) by key; undefined while it is not known. */
  readonly held: Versions | undefined;
  readonly parked: ReadonlyMap<string, Parked>;
}

export interface SessionDeps {
  readonly send: Send<Outgoing>;
  readonly machine: PushMachine;
  readonly encode: PushEncoder;
  readonly now: () => number;
  /** Told of each push and of each answer, for people and metrics. */
  readonly ledger?: Pick<PushLedger, "sent" | "answered">;
  /** SHA-256 of the roots that are handed out now; without it the agent is not told. */
  readonly roots?: (() => Buffer) | undefined;
}

const RESULT_TIMEOUT_MS = 60_000;
const MISSED_HEARTBEATS = 3;
/** What an agent says is the type of a result gets so many characters in errors, which are logged and recorded. */
const MAX_TYPE = 100;

/** One live stream of one agent, from Welcome to its end. It writes only while the peer has room. */
export class Session {
  readonly info: SessionInfo;
  readonly #deps: SessionDeps;
  readonly #ended = new AbortController();
  /** Since when the peer has had no room; Infinity while it has some. */
  #blockedSinceMs = Infinity;
  #rootsTold: Buffer | undefined;
  lastSeenMs: number;
  lastSentMs: number;
  /** When the push in flight was sent; Infinity while none is. */
  unansweredSinceMs = Infinity;
  /** The agent's clock minus ours, from its last heartbeat. */
  clockOffsetMs = 0;

  constructor(info: SessionInfo, deps: SessionDeps) {
    this.info = info;
    this.#deps = deps;
    this.lastSeenMs = info.connectedAtMs;
    this.lastSentMs = info.connectedAtMs;
  }

  /** Aborted, with the reason, when the server ends the session. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  end(reason: MeshError): void {
    this.#ended.abort(reason);
  }

  /** Sends the next push, if one is due and the peer has room. */
  flush(): void {
    if (this.#blocked || this.#ended.signal.aborted) return;
    const now = this.#deps.now();
    const push = this.#deps.machine.next(now);
    if (!push) return;
    this.unansweredSinceMs = now;
    const bytes = this.#deps.encode(push);
    this.#deps.ledger?.sent(push, bytes.length, now);
    this.#write(bytes);
  }

  /** Why this session is over by now, if it is: who only seems to live must not hold the place of a cluster. */
  faultAt(now: number, heartbeatMs: number): MeshError | undefined {
    const silentMs = now - this.lastSeenMs;
    if (silentMs > heartbeatMs * MISSED_HEARTBEATS) {
      return new MeshError("unavailable", `nothing was heard of the agent for ${silentMs} ms`);
    }
    if (now > this.info.certificateNotAfterMs) {
      return new MeshError("unauthenticated", "the client certificate has expired");
    }
    if (now - this.unansweredSinceMs > RESULT_TIMEOUT_MS) {
      return new MeshError("deadline_exceeded", `a push was not answered within ${RESULT_TIMEOUT_MS} ms`);
    }
    const stalledMs = now - this.#blockedSinceMs;
    if (stalledMs > heartbeatMs * MISSED_HEARTBEATS) {
      return new MeshError("deadline_exceeded", `the agent has not read for ${stalledMs} ms`);
    }
    return undefined;
  }

  heartbeat(): void {
    this.send({ $case: "heartbeat", value: { time: new Date(this.#deps.now()) } });
  }

  /** Tells the agent which roots are handed out now, where it was not told these yet. */
  tellRoots(): void {
    const sha256 = this.#deps.roots?.();
    if (!sha256 || this.#rootsTold?.equals(sha256) || this.#blocked) return;
    this.#rootsTold = sha256;
    this.send({ $case: "roots", value: { sha256 } });
  }

  /** Sends a small control message; skipped while the peer has no room, since a stalled peer is ended by its silence. */
  send(message: NonNullable<ConnectResponse["message"]>): void {
    if (!this.#blocked && !this.#ended.signal.aborted) this.#write({ message });
  }

  /** Takes one message of the agent. Throws for a breach of the protocol, which ends the session. */
  receive({ message }: ConnectRequest): void {
    const { machine, ledger, now } = this.#deps;
    this.lastSeenMs = now();
    switch (message?.$case) {
      case "result":
        if (message.value.type !== machine.type) {
          throw new MeshError(
            "invalid_argument",
            `result of type ${clip(message.value.type, MAX_TYPE)}, which was not pushed`,
          );
        }
        machine.result(message.value, this.lastSeenMs);
        ledger?.answered(message.value, this.lastSeenMs);
        this.unansweredSinceMs = Infinity;
        this.flush();
        return;
      case "heartbeat": {
        const time = soundTime(message.value.time);
        if (time) this.clockOffsetMs = time.getTime() - this.lastSeenMs;
        return;
      }
      case "hello":
        throw new MeshError("invalid_argument", "hello was sent twice");
      case "status":
      case undefined:
        // Status is taken by the hub; a message of a newer agent that this server does not know is ignored.
        return;
    }
  }

  get #blocked(): boolean {
    return this.#blockedSinceMs !== Infinity;
  }

  #write(message: Outgoing): void {
    const { send, now } = this.#deps;
    this.lastSentMs = now();
    if (send.now(message)) return;
    this.#blockedSinceMs = this.lastSentMs;
    send.onDrain(() => {
      this.#blockedSinceMs = Infinity;
      this.flush();
    });
  }
}

/** Turns a push into bytes. */
export type PushEncoder = (push: NonNullable<ReturnType<PushMachine["next"]>>) => Buffer;

/** What is kept of encoded pushes: enough for what goes to many agents at once, however large their sets are. */
const KEPT_BYTES = 4 * 1024 * 1024;

/** Encodes pushes; the bytes of equal pushes to many agents are made once while they are sent out. */
export function createPushEncoder(maxBytes = KEPT_BYTES): PushEncoder {
  const cache = new Map<string, Buffer>();
  let size = 0;
  return (push) => {
    // Base and digest name the upserts; removals of what is not held leave no trace in them.
    const removals = push.removals.map(keyOf).join();
    const key = `${push.id}/${push.base.toString("latin1")}/${push.digest.toString("latin1")}/${removals}`;
    const known = cache.get(key);
    if (known) return known;
    const bytes = encodeMessage(ConnectResponse, { message: { $case: "push", value: push } });
    if (bytes.length > maxBytes) return bytes;
    cache.set(key, bytes);
    size += bytes.length;
    for (const [oldest, { length }] of cache) {
      if (size <= maxBytes) break;
      cache.delete(oldest);
      size -= length;
    }
    return bytes;
  };
}
