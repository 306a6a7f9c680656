import {
  Client,
  connectivityState,
  Metadata,
  type ChannelOptions,
  type ClientDuplexStream,
  type ClientReadableStream,
  type MethodDefinition,
} from "@grpc/grpc-js";
import { once } from "node:events";
import { isIP } from "node:net";
import { MeshError } from "../runtime/errors.ts";
import { MAX_MESSAGE_BYTES } from "./grpc.ts";
import { parseHostPort } from "../runtime/settings.ts";
import { fromStatus } from "./status.ts";
import { clientCredentials, plaintextCredentials, type ClientTls } from "./tls.ts";

export interface DialOptions {
  /** "host:port" or "unix:/path". */
  readonly address: string;
  /** How to verify the server, and who we are; without it the channel is plain text, for sockets and loopback. */
  readonly tls?: ClientTls;
  /** What the server is called in errors, e.g. "management server 10.0.0.1:9900". */
  readonly peer: string;
  /** `:authority` and TLS server name, where they are not the address's. */
  readonly authority?: string;
  /** Headers of every call, made anew for each. */
  readonly headers?: () => Readonly<Record<string, string>>;
  readonly channelOptions?: ChannelOptions;
  /** Within which the connection of a stream must stand, in milliseconds; default 10 s. */
  readonly connectTimeoutMs?: number;
}

/** With TLS, and for a server that a whole fleet dials at once. */
const CONNECT_TIMEOUT_MS = 10_000;

const DEFAULTS: ChannelOptions = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  // Retries buffer every message of a long stream (grpc-node#2371); reconnecting is the session's own work.
  "grpc.enable_retries": 0,
  // Short: a subchannel that waits for its second attempt makes that one after the channel was closed, too.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 5_000,
  // Only the address says where to go, never a TXT record of the name service.
  "grpc.service_config_disable_resolution": 1,
  // Each dial has connections of its own: a renewed certificate must not meet a connection made with the old one.
  "grpc.use_local_subchannel_pool": 1,
};

/** For peers of the same cluster or pod: a proxy of the environment is for the way out. */
export const NO_PROXY: ChannelOptions = { "grpc.enable_http_proxy": 0 };

export interface CallOptions {
  readonly signal: AbortSignal;
  /** Milliseconds until the call is given up. */
  readonly timeoutMs?: number;
}

/** A channel to one server. Close it when done. */
export class Dialer {
  readonly #client: Client;
  readonly #options: DialOptions;

  constructor(options: DialOptions) {
    this.#options = options;
    const { address, tls, authority, channelOptions } = options;
    const host = parseHostPort(address)?.host ?? "";
    const name = authority ?? host;
    this.#client = new Client(address, tls ? clientCredentials(tls, name) : plaintextCredentials(), {
      ...DEFAULTS,
      ...(authority ? { "grpc.default_authority": authority } : {}),
      // TLS has no place for an address as server name; what is verified is `name` all the same.
      ...(tls ? { "grpc.ssl_target_name_override": isIP(name) ? "localhost" : name } : {}),
      ...channelOptions,
    });
  }

  /** One request, one answer. Errors are MeshErrors that name the peer. */
  async unary<Req, Res>(method: MethodDefinition<Req, Res>, request: Req, call: CallOptions): Promise<Res> {
    call.signal.throwIfAborted();
    const deadline = call.timeoutMs === undefined ? {} : { deadline: Date.now() + call.timeoutMs };
    return new Promise<Res>((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = method;
      const request$ = this.#client.makeUnaryRequest<Req, Res>(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        this.#metadata(),
        deadline,
        (error, response) => {
          call.signal.removeEventListener("abort", cancel);
          if (error) reject(this.#readError(error, call.signal));
          else if (response === undefined) reject(new MeshError("internal", `${this.#options.peer}: empty answer`));
          else resolve(response);
        },
      );
      const cancel = (): void => request$.cancel();
      call.signal.addEventListener("abort", cancel, { once: true });
    });
  }

  /** Opens a bidirectional stream. `signal` ends it. */
  bidi<Req, Res>(method: MethodDefinition<Req, Res>, signal: AbortSignal): ClientStream<Req, Res> {
    const { path, requestSerialize, responseDeserialize } = method;
    const call = this.#client.makeBidiStreamRequest<Req, Res>(
      path,
      requestSerialize,
      responseDeserialize,
      this.#metadata(),
    );
    const connecting = this.#limitConnecting(call);
    return new ClientStream(call, signal, (error) => this.#readError(connecting.fault ?? error, signal));
  }

  /** Opens a server stream; ending the loop or aborting `signal` cancels it. */
  async *serverStream<Req, Res>(
    method: MethodDefinition<Req, Res>,
    request: Req,
    signal: AbortSignal,
  ): AsyncGenerator<Res> {
    const { path, requestSerialize, responseDeserialize } = method;
    const call: ClientReadableStream<Res> = this.#client.makeServerStreamRequest<Req, Res>(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      this.#metadata(),
    );
    const connecting = this.#limitConnecting(call);
    const cancel = (): void => call.cancel();
    signal.addEventListener("abort", cancel, { once: true });
    if (signal.aborted) cancel();
    try {
      for await (const message of call.iterator({ destroyOnReturn: false })) yield message as Res;
    } catch (error) {
      throw this.#readError(connecting.fault ?? error, signal);
    } finally {
      signal.removeEventListener("abort", cancel);
      swallowLateError(call);
      call.cancel();
    }
  }

  close(): void {
    this.#client.close();
  }

  /**
   * Ends a call that no connection was made for in time, and then has the fault. The kernel would try for two minutes, by
   * default, to reach the address of a pod that is gone, though the next attempt would be led to its successor.
   *
   * It only looks on, as the call itself makes the channel connect: `Client.waitForReady` asks the channel to connect each
   * time that its state changes, when it is closed too, which then lives on and dials for ever.
   */
  #limitConnecting(call: { cancel(): void }): { readonly fault: MeshError | undefined } {
    const { peer, connectTimeoutMs = CONNECT_TIMEOUT_MS } = this.#options;
    const connecting: { fault: MeshError | undefined } = { fault: undefined };
    const channel = this.#client.getChannel();
    const deadlineMs = Date.now() + connectTimeoutMs;
    const look = (late?: Error): void => {
      const state = channel.getConnectivityState(false);
      if (state === connectivityState.READY || state === connectivityState.SHUTDOWN) return;
      if (!late) return channel.watchConnectivityState(state, deadlineMs, look);
      connecting.fault = new MeshError("unavailable", `${peer}: no connection within ${connectTimeoutMs} ms`);
      call.cancel();
    };
    look();
    return connecting;
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(this.#options.headers?.() ?? {})) metadata.set(name, value);
    return metadata;
  }

  #readError(error: unknown, signal: AbortSignal): MeshError {
    if (signal.aborted) return MeshError.from(signal.reason ?? error, "canceled");
    return fromStatus(error, this.#options.peer);
  }
}

/** A cancelled call emits its status once more; without a listener that would end the process. */
function swallowLateError(call: NodeJS.EventEmitter): void {
  call.on("error", () => undefined);
}

/** The client's end of a bidirectional stream. Iterate `messages` once; it throws the status that ended the call. */
export class ClientStream<Req, Res> {
  readonly #call: ClientDuplexStream<Req, Res>;
  readonly #signal: AbortSignal;
  readonly #readError: (error: unknown) => MeshError;

  constructor(call: ClientDuplexStream<Req, Res>, signal: AbortSignal, readError: (error: unknown) => MeshError) {
    this.#call = call;
    this.#signal = signal;
    this.#readError = readError;
    swallowLateError(call);
  }

  /** Messages of the server, until it ends the call with OK. */
  async *messages(): AsyncGenerator<Res, void, undefined> {
    const cancel = (): void => this.#call.cancel();
    this.#signal.addEventListener("abort", cancel, { once: true });
    if (this.#signal.aborted) cancel();
    try {
      for await (const message of this.#call.iterator({ destroyOnReturn: false })) yield message as Res;
    } catch (error) {
      throw this.#readError(error);
    } finally {
      this.#signal.removeEventListener("abort", cancel);
      this.#call.cancel();
    }
  }

  /** Writes one message; false when the peer is slow and the caller should hold back until `drained`. */
  write(message: Req): boolean {
    return this.#call.write(message);
  }

  /** Resolves when there is room again after `write` returned false, when the call is over, or `signal` is aborted. */
  async drained(signal: AbortSignal): Promise<void> {
    // How a call ended is told by `messages` alone.
    await once(this.#call, "drain", { signal }).catch(() => undefined);
  }

  /** Half-closes: what was written arrives, and the server may still answer until it ends the call. */
  end(): void {
    this.#call.end();
  }

  /** Ends the call. */
  cancel(): void {
    this.#call.cancel();
  }
}
