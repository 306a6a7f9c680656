import { once } from "node:events";
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type Clock, systemClock } from "../common/runtime/clock.ts";
import { type Log, silentLog } from "../common/runtime/log.ts";
import { formatHostPort, type HostPort } from "../common/runtime/settings.ts";
import { answer, createState, type WireReply, type WireRequest } from "./core.ts";
import type { Operation } from "./protocol.ts";
import type { VaultState } from "./state.ts";

export interface DevVaultOptions {
  /** All power over it, and the key of `sys/unseal`. */
  readonly rootToken: string;
  /** Default: a free loopback port. */
  readonly listen?: HostPort;
  /** PEM texts; without them it speaks plain HTTP. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly clock?: Clock;
  readonly log?: Log;
}

/** A running development Vault. */
export interface DevVault extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly address: string;
  /** Cuts every connection; all that it held is gone. */
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 1024 * 1024;

/**
 * Starts the embedded development Vault: Vault's HTTP API as far as this product uses it, with Vault's own answers, in
 * memory only and with one all-powerful token. For development and tests; it protects nothing.
 * `LIST` as a verb is beyond Node's HTTP parser: lists are read by `GET …?list=true`, which Vault takes as well.
 * Rejects with the system's error when it cannot listen.
 */
export async function startDevVault(options: DevVaultOptions): Promise<DevVault> {
  const { rootToken, listen = { host: "127.0.0.1", port: 0 }, tls, clock = systemClock, log = silentLog } = options;
  const state = createState({ rootToken, clock, log });
  const onRequest: RequestListener = (request, response) => {
    serve(state, request, response).catch((error: unknown) => {
      log.error("request failed", { err: error });
      send(response, { status: 500, body: { errors: ["internal error"] } });
    });
  };
  const server = tls ? createHttpsServer(tls, onRequest) : createHttpServer(onRequest);
  server.listen(listen.port, listen.host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  };
  const address = `${tls ? "https" : "http"}://${formatHostPort({ host: listen.host, port })}`;
  return { address, close, [Symbol.asyncDispose]: close };
}

async function serve(state: VaultState, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://vault");
  const operation = operationOf(request.method ?? "", url);
  if (!url.pathname.startsWith("/v1/") || operation === undefined) {
    send(response, { status: url.pathname.startsWith("/v1/") ? 405 : 404, body: { errors: [] } });
    return;
  }
  const path = decodeURI(url.pathname.slice("/v1/".length)).replace(/\/+$/, "");
  const body = await readBody(request);
  if (body === undefined) {
    send(response, { status: 500, body: { errors: ["failed to parse JSON input"] } });
    return;
  }
  const wire: WireRequest = { operation, path, tokenId: tokenOf(request), body };
  const reply = await answer(state, wire);
  state.log.debug("request", { operation, path, status: reply.status });
  send(response, reply);
}

function operationOf(method: string, url: URL): Operation | undefined {
  if (method === "GET") return url.searchParams.get("list") === "true" ? "list" : "read";
  if (method === "POST" || method === "PUT") return "update";
  return method === "DELETE" ? "delete" : undefined;
}

function tokenOf({ headers }: IncomingMessage): string | undefined {
  const header = headers["x-vault-token"];
  const bearer = /^Bearer (?<token>.+)$/.exec(headers.authorization ?? "")?.groups?.["token"];
  return (Array.isArray(header) ? header[0] : header) ?? bearer;
}

/** An empty body is an empty object; undefined for what is no JSON object, or too long. */
async function readBody(request: IncomingMessage): Promise<Readonly<Record<string, unknown>> | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  if (bytes === 0) return {};
  try {
    const body = JSON.parse(Buffer.concat(chunks).toString()) as unknown;
    return typeof body === "object" && body !== null && !Array.isArray(body) ? { ...body } : undefined;
  } catch {
    return undefined;
  }
}

function send(response: ServerResponse, { status, body }: WireReply): void {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(body === undefined ? undefined : `${JSON.stringify(body)}\n`);
}
