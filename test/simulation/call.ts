import { MeshError } from "../../common/runtime/errors.ts";
import type { Send } from "../../common/session/handlers.ts";
import { fromStatus, toStatus } from "../../common/session/status.ts";
import type { RelayStream } from "../../agent/relay/relay-channel.ts";
import { ConnectRequest, ConnectResponse } from "../../proto/gen/relay/v1/relay.ts";
import type { Outgoing } from "../../server/relay/session.ts";
import type { Dice } from "./dice.ts";
import { Pipe, type Ending } from "./pipe.ts";
import type { SimProcess } from "./process.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** Looks at what passes. */
export interface CallWatch {
  /** The server says this. */
  readonly down: (message: ConnectResponse) => void;
  /** The agent says this. */
  readonly said: (message: ConnectRequest) => void;
  /** The server hears this of the agent. */
  readonly up: (message: ConnectRequest) => void;
  /** The server's handler is done. */
  readonly end: (why: string) => void;
}

export interface CallOptions {
  readonly time: VirtualTime;
  readonly dice: Dice;
  readonly agent: SimProcess;
  readonly server: SimProcess;
  readonly latencyMs: number;
  readonly watch: CallWatch;
}

const GONE: Ending = { kind: "error", error: new MeshError("unavailable", "connection dropped") };

/** One call of RelayService.Connect over one connection, as both ends see it through `common/session`. */
export class SimCall {
  readonly #options: CallOptions;
  readonly #up: Pipe;
  readonly #down: Pipe;
  readonly #cancelled = new AbortController();
  /** Whether the server's handler runs. */
  state: "dialled" | "served" | "over" = "dialled";

  constructor(options: CallOptions) {
    this.#options = options;
    const { time, dice, agent, server, latencyMs } = options;
    const common = { time, dice, latencyMs };
    const room = dice.pick([1, 2, 4, 16]);
    const onCancel = (): void => this.#cancelled.abort(new MeshError("canceled", "cancelled by its caller"));
    // An agent's result and its signs of life, until it notices the silence, wait for nothing; a server waits with all.
    this.#up = new Pipe({ ...common, room, from: agent, to: server, urgent: 8, onCancel });
    this.#down = new Pipe({ ...common, room, from: server, to: agent, urgent: 0 });
  }

  get isFlooded(): boolean {
    return this.#up.isFlooded || this.#down.isFlooded;
  }

  isOf(process: SimProcess): boolean {
    return this.#options.agent === process || this.#options.server === process;
  }

  /** The agent's end. */
  stream(signal: AbortSignal): RelayStream {
    return {
      messages: () => this.#messages(signal),
      write: (message) => {
        this.#options.watch.said(message);
        return this.#up.write(Buffer.from(ConnectRequest.encode(message).finish()));
      },
      drained: (until) =>
        new Promise((resolve) => {
          if (until.aborted) return resolve();
          this.#up.onDrain(resolve);
          until.addEventListener("abort", () => resolve(), { once: true });
        }),
    };
  }

  /** Serves it with `handler`, which gets the server's end. */
  serve(
    handler: (requests: AsyncIterable<ConnectRequest>, send: Send<Outgoing>, signal: AbortSignal) => Promise<void>,
  ): void {
    this.state = "served";
    const { signal } = this.#cancelled;
    handler(this.#requests(), this.#send(), signal).then(
      () => this.#finished({ kind: "end" }, "ends"),
      (error: unknown) => this.#finished(statusOf(error), String(error)),
    );
  }

  /** The connection breaks, and each end hears of it or does not. */
  cut(): void {
    const { dice } = this.#options;
    this.#up.cut(dice.chance(0.6) ? { kind: "cancel" } : undefined);
    this.#down.cut(dice.pick([GONE, GONE, { kind: "end" }, undefined, undefined]));
  }

  /** Nothing comes through any more, one way or both, and nobody is told. */
  silence(): void {
    const which = this.#options.dice.between(1, 3);
    if (which & 1) this.#up.cut(undefined);
    if (which & 2) this.#down.cut(undefined);
  }

  /** One end has died; its kernel tells the other, unless that died too. */
  died(process: SimProcess): void {
    const isTold = this.#options.dice.chance(0.7);
    const isAgent = this.#options.agent === process;
    this.#up.cut(isTold && isAgent ? { kind: "cancel" } : undefined);
    this.#down.cut(isTold && !isAgent ? GONE : undefined);
  }

  /** The world ends. */
  end(): void {
    this.#cancelled.abort();
  }

  /** Nobody listens there. */
  refuse(): void {
    this.state = "over";
    this.#down.end({ kind: "error", error: new MeshError("unavailable", "connection refused") });
  }

  stall(ms: number): void {
    const which = this.#options.dice.between(1, 3);
    if (which & 1) this.#up.stall(ms);
    if (which & 2) this.#down.stall(ms);
  }

  async *#messages(signal: AbortSignal): AsyncGenerator<ConnectResponse, void, undefined> {
    const gone = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
    gone.catch(() => undefined);
    try {
      for (;;) {
        signal.throwIfAborted();
        const next = await Promise.race([this.#down.read(), gone]);
        if (Buffer.isBuffer(next)) yield ConnectResponse.decode(next);
        else if (next.kind === "error") throw next.error;
        else return;
      }
    } finally {
      this.#up.end({ kind: "cancel" });
    }
  }

  async *#requests(): AsyncGenerator<ConnectRequest, void, undefined> {
    for (;;) {
      const next = await this.#up.read();
      if (!Buffer.isBuffer(next)) {
        // How a call is cancelled is told by its signal alone: the iterator may hang.
        if (next.kind !== "end") await new Promise(() => undefined);
        return;
      }
      const message = ConnectRequest.decode(next);
      this.#options.watch.up(message);
      yield message;
    }
  }

  #send(): Send<Outgoing> {
    const now = (message: Outgoing): boolean => {
      const bytes = Buffer.isBuffer(message) ? message : Buffer.from(ConnectResponse.encode(message).finish());
      this.#options.watch.down(ConnectResponse.decode(bytes));
      return this.#down.write(bytes);
    };
    const send = async (message: Outgoing): Promise<void> => void now(message);
    return Object.assign(send, { now, onDrain: (callback: () => void) => this.#down.onDrain(callback) });
  }

  #finished(ending: Ending, why: string): void {
    this.state = "over";
    this.#options.watch.end(why);
    if (!this.#cancelled.signal.aborted) this.#down.end(ending);
  }
}

/** What the agent makes of the status that the server makes of an error. */
function statusOf(thrown: unknown): Ending {
  const status = Object.assign(new Error("status"), toStatus(thrown));
  return { kind: "error", error: fromStatus(status, "management server") };
}
