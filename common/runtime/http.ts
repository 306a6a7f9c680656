import { type IncomingMessage, request as httpRequest, type RequestOptions } from "node:http";
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
}

/** An answer of any status, whole. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** Sends one request and reads the whole answer. Rejects with what Node says of the connection. */
export function exchange({ options, body, ...bound }: HttpExchange): Promise<HttpAnswer> {
  const send = options.protocol === "https:" ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = send(options, (response) => {
      const { statusCode: status = 0, headers } = response;
      readText(response, bound).then((text) => resolve({ status, headers, text }), reject);
    });
    request.on("error", reject);
    request.end(body);
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
