import { once } from "node:events";
import { connect as connectHttp2, type ClientHttp2Stream, type IncomingHttpHeaders } from "node:http2";
import { connect as connectTls, createSecureContext, type SecureContext } from "node:tls";
import { Metadata } from "@grpc/grpc-js";
import type { RelayChannel, RelayStream } from "../../agent/relay/relay-channel.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { parseHostPort } from "../../common/runtime/settings.ts";
import { fromStatus } from "../../common/session/status.ts";
import type { KeyAndChain } from "../../common/session/tls.ts";
import { ConnectRequest, ConnectResponse, RelayServiceService } from "../../proto/gen/relay/v1/relay.ts";
import { grpcMessage, MessageReader } from "./frames.ts";

export interface LightChannelOptions {
  /** "host:port" */
  readonly address: string;
  readonly context: SecureContext;
  /** Within which a connection must stand, in milliseconds. */
  readonly connectTimeoutMs: number;
}

/** What one agent shows and trusts. It is made once: with one for each connection the load would need the CPU of the server. */
export const contextOf = (rootsPem: string, { keyPem, certificatePem }: KeyAndChain): SecureContext =>
  createSecureContext({ ca: rootsPem, key: keyPem, cert: certificatePem, minVersion: "TLSv1.3" });

/**
 * The way to the server for the product's own client, by Node's HTTP/2 alone: a connection of grpc-js costs several times
 * that of the server's end, and a thousand agents share the process of the load.
 */
export function lightChannel(options: LightChannelOptions): RelayChannel {
  let close = (): void => undefined;
  return {
    connect: (signal) => {
      const stream = new LightStream(options, signal);
      close = () => stream.close();
      return stream;
    },
    renew: () => Promise.reject(new MeshError("unimplemented", "the bench renews no certificate")),
    close: () => close(),
  };
}

/** One connection with one call, which ends with it. */
class LightStream implements RelayStream {
  readonly #signal: AbortSignal;
  readonly #stream: ClientHttp2Stream;
  readonly close: () => void;
  #status: IncomingHttpHeaders = {};

  constructor({ address, context, connectTimeoutMs }: LightChannelOptions, signal: AbortSignal) {
    this.#signal = signal;
    const { host = "", port = 0 } = parseHostPort(address) ?? {};
    const socket = connectTls({
      ...{ host, port, secureContext: context, servername: "localhost", ALPNProtocols: ["h2"] },
    });
    socket.setNoDelay(true);
    const session = connectHttp2(`https://${address}`, { createConnection: () => socket });
    const timer = setTimeout(() => session.destroy(new Error("no connection in time")), connectTimeoutMs);
    session.once("connect", () => clearTimeout(timer));
    // The stream has the same error.
    session.on("error", () => undefined);
    this.#stream = session.request({
      ...{ ":method": "POST", ":path": RelayServiceService.connect.path, "content-type": "application/grpc" },
      te: "trailers",
    });
    const take = (headers: IncomingHttpHeaders): void => {
      if (headers["grpc-status"] !== undefined) this.#status = headers;
    };
    this.#stream.on("response", take).on("trailers", take);
    this.#stream.on("error", () => undefined);
    this.close = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", this.close);
      session.destroy();
    };
    signal.addEventListener("abort", this.close, { once: true });
  }

  async *messages(): AsyncGenerator<ConnectResponse, void, undefined> {
    const reader = new MessageReader();
    try {
      for await (const chunk of this.#stream) {
        for (const bytes of reader.read(chunk as Buffer)) yield ConnectResponse.decode(bytes);
      }
    } catch (error) {
      this.#signal.throwIfAborted();
      throw new MeshError("unavailable", "the connection was lost", { cause: error });
    } finally {
      this.close();
    }
    this.#throwStatus();
  }

  write(message: ConnectRequest): boolean {
    return !this.#stream.writable || this.#stream.write(grpcMessage(ConnectRequest.encode(message).finish()));
  }

  async drained(signal: AbortSignal): Promise<void> {
    await once(this.#stream, "drain", { signal }).catch(() => undefined);
  }

  /** Nothing for a call that ended with OK. */
  #throwStatus(): void {
    const code = Number(this.#status["grpc-status"] ?? Number.NaN);
    if (Number.isNaN(code)) throw new MeshError("unavailable", "the server was gone before it gave a status");
    const details = String(this.#status["grpc-message"] ?? "");
    const metadata = Metadata.fromHttp2Headers(this.#status);
    if (code !== 0) throw fromStatus(Object.assign(new Error(details), { code, details, metadata }), "server");
  }
}
