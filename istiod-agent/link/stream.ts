import { decodeJwt } from "jose";
import type { ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { LinkMode, LinkRequest, LinkResponse } from "../../proto/gen/istiod/v1/istiod.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import { VERSION } from "../../common/runtime/version.ts";
import type { ClientStream } from "../../common/session/client.ts";
import { LINK_HEARTBEAT_MS, LINK_SILENT_HEARTBEATS } from "../../common/session/link.ts";
import type { OrderState } from "./order-state.ts";

/** A stream is reopened this long before its token ends, or with a tenth of the token's life left if that is less. */
const REOPEN_BEFORE_MS = 60_000;

/** How long a stopping program waits for the agent to take its last words. */
const LEAVE_TIMEOUT_MS = 1_000;

export interface StreamOptions {
  readonly open: (signal: AbortSignal) => ClientStream<LinkRequest, LinkResponse>;
  readonly token: string;
  readonly clock: Clock;
  readonly mode: LinkMode;
  readonly statuses: Latest<ReplicaStatus>;
  readonly onState: (state: OrderState) => void;
}

/**
 * Runs one stream. Returns when it is time for one with a newer token, or when `signal` is aborted: then what was
 * written has arrived, unless the agent did not answer for a second. Throws the status with which the agent ended it,
 * or `unavailable` when the agent falls silent.
 */
export async function runStream(options: StreamOptions, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const stream = new LinkStream(options, over.signal);
  const stopped = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    AbortSignal.any([signal, over.signal]).addEventListener("abort", () => resolve(), { once: true });
  });
  try {
    const reading = stream.read();
    await Promise.race([reading, stream.sendStatuses(), stream.beat(), stream.untilTokenEnds(), stopped]);
    await stream.leave(reading);
  } finally {
    over.abort();
  }
}

class LinkStream {
  readonly #options: StreamOptions;
  readonly #signal: AbortSignal;
  readonly #stream: ClientStream<LinkRequest, LinkResponse>;
  #heardAtMs: number;

  constructor(options: StreamOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#heardAtMs = options.clock.now();
    this.#stream = options.open(signal);
    this.#stream.write({ message: { $case: "hello", value: { mode: options.mode, version: VERSION } } });
  }

  async read(): Promise<never> {
    for await (const { message } of this.#stream.messages()) {
      this.#heardAtMs = this.#options.clock.now();
      if (message?.$case === "order") this.#options.onState({ kind: "order", order: message.value });
      if (message?.$case === "noOrder") this.#options.onState({ kind: "waiting", reason: message.value.reason });
    }
    throw new MeshError("unavailable", "the agent ended the link");
  }

  /** The newest status, then each newer one; while the agent is slow, those between are skipped. */
  async sendStatuses(): Promise<void> {
    for await (const status of this.#options.statuses.watch(this.#signal)) {
      const hasRoom = this.#stream.write({ message: { $case: "status", value: status } });
      if (!hasRoom) await this.#stream.drained(this.#signal);
    }
  }

  async beat(): Promise<never> {
    const { clock } = this.#options;
    for (;;) {
      await clock.sleep(LINK_HEARTBEAT_MS, this.#signal);
      const silentMs = clock.now() - this.#heardAtMs;
      if (silentMs > LINK_HEARTBEAT_MS * LINK_SILENT_HEARTBEATS) {
        throw new MeshError("unavailable", `the agent was silent for ${silentMs} ms`);
      }
      this.#stream.write({ message: { $case: "heartbeat", value: new Date(clock.now()) } });
    }
  }

  /** Ends shortly before the token does; never where that moment has passed already: no newer token was to be had. */
  async untilTokenEnds(): Promise<void> {
    const { clock, token } = this.#options;
    const { startMs, endMs } = lifeOf(token);
    const leftMs = endMs - Math.min(REOPEN_BEFORE_MS, (endMs - startMs) / 10) - clock.now();
    await clock.sleep(leftMs > 0 ? leftMs : Infinity, this.#signal);
  }

  /** Half-closes and waits for the agent to end the call. */
  async leave(reading: Promise<never>): Promise<void> {
    this.#stream.end();
    await Promise.race([reading.catch(() => undefined), this.#options.clock.sleep(LEAVE_TIMEOUT_MS, this.#signal)]);
  }
}

/** The life that a token names; the agent verifies it, here it is only looked at. */
function lifeOf(token: string): { startMs: number; endMs: number } {
  try {
    const { iat = 0, exp = Infinity } = decodeJwt(token);
    return { startMs: iat * 1000, endMs: exp * 1000 };
  } catch {
    return { startMs: 0, endMs: Infinity };
  }
}
