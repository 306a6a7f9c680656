import type { ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { IstiodServiceService, type LinkMode } from "../../proto/gen/istiod/v1/istiod.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { Backoff } from "../../common/runtime/retry.ts";
import { Dialer, NO_PROXY } from "../../common/session/client.ts";
import { isVerificationFault } from "../../common/session/status.ts";
import type { RenewableCredential } from "../pod/credential.ts";
import type { OrderState } from "./order-state.ts";
import { runStream } from "./stream.ts";

const BACKOFF = { baseMs: 200, capMs: 5_000 };

export interface AgentLinkOptions {
  /** host:port of the agent. */
  readonly address: string;
  /** PEM certificates that verify it; read for each stream. */
  readonly roots: RenewableCredential;
  /** Name to verify in its certificate, where it is not the host. */
  readonly authority?: string | undefined;
  /** The token to show; read for each stream. */
  readonly token: RenewableCredential;
  readonly mode: LinkMode;
  /** Takes what the agent says; an order stays in force while the agent is away. */
  readonly orders: Latest<OrderState>;
  /** Newest status of this pod; each change is sent. */
  readonly statuses: Latest<ReplicaStatus>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** The link to the agent of this cluster: orders in, status out, reopened for ever. */
export class AgentLink {
  readonly #options: AgentLinkOptions;
  readonly #backoff: Backoff;
  #connected = false;
  /** The fault that was logged last: an agent that stays away is one line, not one every five seconds. */
  #shown = "";

  constructor(options: AgentLinkOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ ...BACKOFF, random: options.random });
  }

  /** True from the first answer on a stream until it ends. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Keeps a stream open until `signal` is aborted. Faults are logged, shown as the reason to wait, and retried. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, address, orders } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#stream(signal);
      } catch (thrown) {
        if (isAborted(signal)) return;
        const error = MeshError.from(thrown);
        this.#forgetWhatFailed(error);
        if (orders.value?.kind !== "order") orders.set({ kind: "waiting", reason: error.message });
        if (error.message !== this.#shown) log.warn("no link to the agent; trying again", { address, err: error });
        this.#shown = error.message;
        await clock.sleep(this.#backoff.next(error.retryAfterMs), signal).catch(() => undefined);
      } finally {
        this.#connected = false;
      }
    }
  }

  /** Opens one stream with the bundle and the token of this moment; a rotated one is in force with the next. */
  async #stream(signal: AbortSignal): Promise<void> {
    const { address, roots, authority, clock, mode, statuses } = this.#options;
    const token = await this.#options.token.read(signal);
    const rootsPem = await roots.read(signal);
    const dialer = new Dialer({
      address,
      peer: `agent ${address}`,
      tls: { rootsPem, minVersion: "TLSv1.2" },
      ...(authority === undefined ? {} : { authority }),
      headers: () => ({ authorization: `Bearer ${token}` }),
      channelOptions: NO_PROXY,
    });
    try {
      const open = (until: AbortSignal) => dialer.bidi(IstiodServiceService.link, until);
      await runStream({ open, token, clock, mode, statuses, onState: (state) => this.#onState(state) }, signal);
    } finally {
      dialer.close();
    }
  }

  /** Agents come and go, each with a certificate of its own; and a token can end before its time, with its key. */
  #forgetWhatFailed(error: MeshError): void {
    if (isVerificationFault(error)) this.#options.roots.forget();
    if (error.code === "unauthenticated") this.#options.token.forget();
  }

  #onState(state: OrderState): void {
    if (!this.#connected) this.#options.log.info("linked to the agent", { address: this.#options.address });
    this.#connected = true;
    this.#shown = "";
    this.#backoff.reset();
    this.#options.orders.set(state);
  }
}

/** Asks anew: the compiler takes a signal that was not aborted before an await for not aborted after it. */
const isAborted = (signal: AbortSignal): boolean => signal.aborted;
