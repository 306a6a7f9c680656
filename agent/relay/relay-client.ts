import { randomUUID } from "node:crypto";
import {
  RelayServiceService,
  type ConnectRequest,
  type ConnectResponse,
  type Push,
  type RenewCertificateResponse,
  type Welcome,
} from "../../proto/gen/relay/v1/relay.ts";
import type { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { Backoff } from "../../common/runtime/retry.ts";
import { VERSION } from "../../common/runtime/version.ts";
import type { ClientStream, Dialer } from "../../common/session/client.ts";
import { ISSUED_CERTIFICATE } from "../../common/session/resource-set.ts";
import type { IntentHolder } from "../apply/intent-holder.ts";
import { StatusDiff } from "./status-diff.ts";

/** Where the agent stands with the management server. */
export type RelayState =
  | { readonly kind: "offline"; readonly sinceMs: number; readonly error?: MeshError }
  | {
      readonly kind: "connected";
      readonly sinceMs: number;
      readonly sessionId: string;
      readonly clockOffsetMs: number;
    };

export interface RelayClientOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Makes a channel with the identity in force. */
  readonly dial: () => Dialer;
  readonly intent: IntentHolder;
  readonly statuses: Latest<readonly IssuedCertificateStatus[]>;
}

const BACKOFF = { baseMs: 300, capMs: 5_000 };
const MISSED_HEARTBEATS = 3;
const RENEW_TIMEOUT_MS = 10_000;

type Stream = ClientStream<ConnectRequest, ConnectResponse>;

/**
 * Holds the session with the management server: dials, applies what is pushed, sends status, and comes back after a
 * loss. The last intent stays in force all the while; nothing here ever waits for the server to do the agent's work.
 */
export class RelayClient {
  readonly state: Latest<RelayState>;
  readonly #options: RelayClientOptions;
  readonly #instanceId = randomUUID();
  #spreadMs = 0;
  #dialer: Dialer | undefined;
  #leave: ((reason: MeshError) => void) | undefined;

  constructor(options: RelayClientOptions) {
    this.#options = options;
    this.state = new Latest<RelayState>({ kind: "offline", sinceMs: options.clock.now() });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#options;
    const backoff = new Backoff({ ...BACKOFF, random });
    while (!signal.aborted) {
      const error = await this.#session(signal, () => backoff.reset()).then(() => undefined, MeshError.from);
      if (signal.aborted) return;
      const lost = this.state.value?.kind === "connected";
      const waitMs = lost ? random() * this.#spreadMs : backoff.next(error?.retryAfterMs);
      this.state.set({ kind: "offline", sinceMs: clock.now(), ...(error ? { error } : {}) });
      log.warn(lost ? "session lost" : "no session", { err: error, retryInMs: Math.round(waitMs) });
      await clock.sleep(waitMs, signal).catch(() => undefined);
    }
  }

  /** Ends the session so that the next one is made with the identity then in force. */
  reconnect(reason: string): void {
    this.#leave?.(new MeshError("canceled", reason));
  }

  /** Renews the client certificate over the live connection; `unavailable` while there is none. */
  async renewCertificate(certificateSigningRequest: string, signal: AbortSignal): Promise<RenewCertificateResponse> {
    if (!this.#dialer) throw new MeshError("unavailable", "not connected to the management server");
    const call = { signal, timeoutMs: RENEW_TIMEOUT_MS };
    return this.#dialer.unary(RelayServiceService.renewCertificate, { certificateSigningRequest }, call);
  }

  async #session(signal: AbortSignal, onSync: () => void): Promise<void> {
    const stop = new AbortController();
    const dialer = this.#options.dial();
    this.#leave = (reason) => stop.abort(reason);
    const stream: Stream = dialer.bidi(RelayServiceService.connect, AbortSignal.any([signal, stop.signal]));
    const tasks: Promise<void>[] = [];
    try {
      stream.write({ message: { $case: "hello", value: this.#hello() } });
      let lastHeardMs = this.#options.clock.now();
      for await (const { message } of stream.messages()) {
        lastHeardMs = this.#options.clock.now();
        switch (message?.$case) {
          case "welcome":
            this.#welcomed(message.value, dialer);
            tasks.push(
              this.#sendStatus(stream, stop.signal),
              this.#keepAlive(stream, message.value, stop, () => lastHeardMs),
            );
            onSync();
            break;
          case "push":
            stream.write({ message: { $case: "result", value: await this.#apply(message.value) } });
            break;
          case "heartbeat":
            this.#heard(message.value.time);
            break;
          case "drain": {
            const withinMs = Number(message.value.within?.seconds ?? 0n) * 1000;
            this.#spreadMs = Math.max(this.#spreadMs, withinMs);
            throw new MeshError("unavailable", `the server asks to reconnect: ${message.value.reason}`);
          }
          case undefined:
            // A message of a newer server that this agent does not know.
            break;
        }
      }
      throw new MeshError("unavailable", "the server ended the session");
    } finally {
      stop.abort(new MeshError("canceled", "the session is over"));
      this.#dialer = undefined;
      this.#leave = undefined;
      await Promise.all(tasks);
      dialer.close();
    }
  }

  #hello() {
    const held = [{ type: ISSUED_CERTIFICATE, digest: this.#options.intent.digest() }];
    return { agentVersion: VERSION, instanceId: this.#instanceId, capabilities: [], held };
  }

  #welcomed({ sessionId, serverTime, reconnectSpread, serverVersion }: Welcome, dialer: Dialer): void {
    const now = this.#options.clock.now();
    this.#dialer = dialer;
    this.#spreadMs = Number(reconnectSpread?.seconds ?? 0n) * 1000 + (reconnectSpread?.nanos ?? 0) / 1e6;
    const clockOffsetMs = serverTime ? serverTime.getTime() - now : 0;
    this.state.set({ kind: "connected", sinceMs: now, sessionId, clockOffsetMs });
    this.#options.log.info("session began", { session: sessionId, serverVersion, clockOffsetMs });
  }

  #heard(serverTime: Date | undefined): void {
    const state = this.state.value;
    if (!serverTime || state?.kind !== "connected") return;
    this.state.set({ ...state, clockOffsetMs: serverTime.getTime() - this.#options.clock.now() });
  }

  async #apply(push: Push) {
    const result = await this.#options.intent.apply(push);
    const { type, id, upserts, removals } = push;
    const fields = { type, push: String(id), upserts: upserts.length, removals: removals.length };
    if (result.wantWholeSet) this.#options.log.warn("push does not fit, asking for the whole set", fields);
    else this.#options.log.info("push applied", fields);
    return result;
  }

  /** Sends what changed since the last status of this session, newest first to last, one message at a time. */
  async #sendStatus(stream: Stream, signal: AbortSignal): Promise<void> {
    const diff = new StatusDiff();
    for await (const statuses of this.#options.statuses.watch(signal)) {
      const status = diff.next(statuses);
      if (!status || stream.write({ message: { $case: "status", value: status } })) continue;
      await new Promise<void>((resolve) => {
        stream.onDrain(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  async #keepAlive(stream: Stream, welcome: Welcome, stop: AbortController, lastHeardMs: () => number): Promise<void> {
    const { clock } = this.#options;
    const intervalMs = Math.max(1_000, Number(welcome.heartbeatInterval?.seconds ?? 20n) * 1000);
    while (!stop.signal.aborted) {
      await clock.sleep(intervalMs, stop.signal).catch(() => undefined);
      if (stop.signal.aborted) return;
      const silentMs = clock.now() - lastHeardMs();
      if (silentMs > intervalMs * MISSED_HEARTBEATS) {
        stop.abort(new MeshError("unavailable", `nothing was heard of the server for ${silentMs} ms`));
        return;
      }
      stream.write({ message: { $case: "heartbeat", value: { time: new Date(clock.now()) } } });
    }
  }
}
