import { Agent as HttpAgent, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { isIP } from "node:net";
import { MeshError } from "../../common/runtime/errors.ts";
import { exchange } from "../../common/runtime/http.ts";
import { parseCertificates } from "../../common/pki/certificate.ts";
import { connectionError } from "./errors.ts";
import { connectTarget, type ResolveOverride, unbracket } from "./resolve.ts";

/** How to reach one Vault. */
export interface TransportOptions {
  /** Vault's address, e.g. "https://vault.vault:8200". */
  readonly server: string;
  /** PEM certificates to verify Vault with; the system's roots when absent. */
  readonly caPem?: string | undefined;
  readonly resolve?: readonly ResolveOverride[];
}

export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Text of a JSON document. */
  readonly body?: string | undefined;
  /** Ends the request; its reason is what the promise rejects with. */
  readonly signal: AbortSignal;
}

/** An answer of any status. `body` is the parsed JSON, the text where it is none, undefined where it is empty. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: unknown;
}

/** No answer we read comes near it; a broken proxy must not fill a sidecar's memory. */
const MAX_BODY_BYTES = 1024 * 1024;

/**
 * The one way to a Vault: HTTP or TLS 1.2 and newer over kept connections, to that server and to no other. Redirects
 * are answers like others, because a followed one would carry the token to another host. Errors hold neither headers
 * nor bodies. Close it when done.
 */
export class Transport {
  readonly server: URL;
  readonly #agent: HttpAgent;
  readonly #resolve: readonly ResolveOverride[];

  /** Throws `invalid_argument` for an address that is no http(s) URL and for a bundle without certificates. */
  constructor({ server, caPem, resolve = [] }: TransportOptions) {
    this.server = parseServer(server);
    this.#resolve = resolve;
    const ca = caPem === undefined ? {} : { ca: parseCertificates(caPem, "caBundle").map(({ pem }) => pem) };
    this.#agent =
      this.server.protocol === "https:"
        ? // Said, so that NODE_TLS_REJECT_UNAUTHORIZED in somebody's environment changes nothing.
          new HttpsAgent({ keepAlive: true, minVersion: "TLSv1.2", rejectUnauthorized: true, ...ca })
        : new HttpAgent({ keepAlive: true });
  }

  /** Sends one request. Throws `vault_unreachable` where there is no whole answer, `vault_malformed` over 1 MiB. */
  async send(request: HttpRequest): Promise<HttpResponse> {
    request.signal.throwIfAborted();
    if (request.url.origin !== this.server.origin) {
      throw new MeshError("internal", `vault request to ${request.url.origin}, want ${this.server.origin}`);
    }
    try {
      return await this.#exchange(request);
    } catch (thrown) {
      request.signal.throwIfAborted();
      throw thrown instanceof MeshError ? thrown : connectionError(this.server, thrown);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #exchange({ method, url, headers, body, signal }: HttpRequest): Promise<HttpResponse> {
    const name = unbracket(url.hostname);
    const { text, ...answer } = await exchange({
      options: {
        ...connectTarget(url, this.#resolve),
        protocol: url.protocol,
        agent: this.#agent,
        method,
        path: `${url.pathname}${url.search}`,
        headers: { ...headers, host: url.host, ...(body === undefined ? {} : { "content-type": "application/json" }) },
        signal,
        ...(isIP(name) === 0 ? { servername: name } : {}),
      },
      body,
      maxBytes: MAX_BODY_BYTES,
      tooLong: () => new MeshError("vault_malformed", `vault's answer is over ${MAX_BODY_BYTES} bytes`),
    });
    return { ...answer, body: parseBody(text) };
  }
}

function parseServer(server: string): URL {
  const url = URL.parse(server);
  if (url && (url.protocol === "http:" || url.protocol === "https:") && url.username === "" && url.password === "") {
    return url;
  }
  throw new MeshError("invalid_argument", `vault server is not an http or https url without credentials`, {
    hint: "write it like http://vault.vault:8200",
  });
}

function parseBody(text: string): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
