import { type ClientRequest, type IncomingMessage, request as httpRequest, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import type { MeshError } from "./errors.ts";

/** One request over a connection of the caller's choice. */
export interface HttpExchange {
  /** With `protocol` "http:" or "https:", and an agent where connections are kept. Node follows no redirect. */
  readonly options: RequestOptions & { readonly servername?: string; readonly ca?: string };
  readonly body?: string | undefined;
  /** A longer answer is not read on. */
  readonly maxBytes: number;
  /** The error for such an answer. */
  readonly tooLong: () => MeshError;
  /** Within which a new connection must stand, in milliseconds; default 10 s. An answer may take longer. */
  readonly connectTimeoutMs?: number;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** An answer of any status, whole. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** Sends one request and reads the whole answer. Rejects with what Node says of the connection. */
export function exchange({ options, body, connectTimeoutMs = CONNECT_TIMEOUT_MS, ...bound }: HttpExchange) {
  const isTls = options.protocol === "https:";
  return new Promise<HttpAnswer>((resolve, reject) => {
    const request = (isTls ? httpsRequest : httpRequest)(options, (response) => {
      const { statusCode: status = 0, headers } = response;
      readText(response, bound).then((text) => resolve({ status, headers, text }), reject);
    });
    limitConnecting(request, isTls ? "secureConnect" : "connect", connectTimeoutMs);
    request.on("error", reject);
    request.end(body);
  });
}

/**
 * Fails a request whose connection does not stand in time. The kernel would try for two minutes, by default, to reach the
 * address of a pod that is gone, though the next attempt would be led to its successor.
 */
function limitConnecting(request: ClientRequest, connected: "connect" | "secureConnect", timeoutMs: number): void {
  const late = Object.assign(new Error(`no connection within ${timeoutMs} ms`), { code: "ETIMEDOUT" });
  const timer = setTimeout(() => request.destroy(late), timeoutMs);
  const stop = (): void => clearTimeout(timer);
  request.once("close", stop);
  request.once("socket", (socket) => {
    if (request.reusedSocket) stop();
    else socket.once(connected, stop);
  });
}

async function readText(
  response: IncomingMessage,
  { maxBytes, tooLong }: Pick<HttpExchange, "maxBytes" | "tooLong">,
): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw tooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
