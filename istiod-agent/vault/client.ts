import NodeVault from "node-vault";
import * as z from "zod";
import { MeshError } from "../../common/runtime/errors.ts";
import { type CallSite, statusError } from "./errors.ts";
import { Transport, type TransportOptions } from "./transport.ts";

export interface ClientOptions extends TransportOptions {
  /** Namespace of Vault Enterprise or OpenBao. */
  readonly namespace?: string | undefined;
  /** Milliseconds until one call is given up. */
  readonly deadlineMs?: number | undefined;
}

/** One call. `path` is relative to /v1/; it may be written with that in front. */
export interface VaultCall {
  readonly path: string;
  /** Setting that holds the path, for messages, e.g. "caPath". */
  readonly setting: string;
}

/** A successful answer. Warnings are Vault's remarks: nearly every healthy answer has some. */
export interface VaultReply {
  readonly data: Readonly<Record<string, unknown>>;
  readonly auth: unknown;
  readonly warnings: readonly string[];
}

/** The token to call with, and who it stands for in messages. */
export interface Caller {
  readonly token?: string | undefined;
  readonly name: string;
}

export interface Invocation extends VaultCall {
  readonly method: "GET" | "POST" | "DELETE";
  readonly body?: Readonly<Record<string, unknown>> | undefined;
  readonly caller: Caller;
  readonly signal: AbortSignal;
}

/** Vault makes RSA keys of 4096 bits on its own time; a login waits for a TokenReview. */
const DEADLINE_MS = 30_000;

const replyBody = z.object({
  data: z.record(z.string(), z.unknown()).nullish(),
  auth: z.unknown().optional(),
  warnings: z.array(z.string()).nullish(),
});

/** What node-vault hands to its transport; it types it as `any`. */
const transportRequest = z.object({
  method: z.string(),
  uri: z.string(),
  headers: z.record(z.string(), z.string()),
  json: z.unknown().optional(),
  signal: z.instanceof(AbortSignal),
  site: z.custom<CallSite>(),
});

/**
 * node-vault behind our transport. Environment variables that node-vault reads (VAULT_ADDR, VAULT_TOKEN,
 * VAULT_NAMESPACE, VAULT_PREFIX, VAULT_SKIP_VERIFY) and its debug output, which prints bodies, have no effect.
 * Close it when done.
 */
export class VaultClient {
  readonly #transport: Transport;
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#transport = new Transport(options);
  }

  /** Makes one call; see `statusError` for what it throws, and `vault_malformed` for an answer that is not Vault's. */
  async call({ method, path, setting, body, caller, signal }: Invocation): Promise<VaultReply> {
    const site = { server: this.#transport.server, method, path: apiPath(path), setting, caller: caller.name };
    const deadlineMs = this.#options.deadlineMs ?? DEADLINE_MS;
    const deadline = AbortSignal.timeout(deadlineMs);
    const settings = { signal: AbortSignal.any([signal, deadline]), site };
    const vault = this.#nodeVault(caller.token);
    try {
      if (method === "GET") return readReply(site, await vault.read(site.path, settings));
      if (method === "DELETE") return readReply(site, await vault.delete(site.path, settings));
      return readReply(site, await vault.write(site.path, body ?? {}, settings));
    } catch (thrown) {
      signal.throwIfAborted();
      if (!deadline.aborted) throw thrown;
      throw new MeshError(
        "vault_unreachable",
        `vault at ${site.server.origin}: ${method} ${site.path} not answered within ${deadlineMs} ms`,
        { retriable: true, hint: "check that vault runs and is not overloaded" },
      );
    }
  }

  close(): void {
    this.#transport.close();
  }

  #nodeVault(token: string | undefined): NodeVault.client {
    const send = async (options: unknown): Promise<object> => this.#send(options);
    const vault = NodeVault({ "request-promise": { defaults: () => send }, debug: () => undefined });
    // Set afterwards: node-vault takes the environment's value for every option that is empty.
    const { namespace } = this.#options;
    return Object.assign(vault, { endpoint: endpointOf(this.#transport.server), token, namespace, pathPrefix: "" });
  }

  async #send(options: unknown): Promise<object> {
    const { method, uri, headers, json, signal, site } = transportRequest.parse(options);
    const body = json === undefined ? undefined : JSON.stringify(json);
    const url = new URL(uri);
    const sent = { ...headers, "x-vault-request": "true" };
    const response = await this.#transport.send({ method, url, headers: sent, body, signal });
    if (response.status !== 200 && response.status !== 204) throw statusError(site, response);
    return { statusCode: response.status, body: response.body, request: { path: url.pathname } };
  }
}

function endpointOf(server: URL): string {
  return `${server.origin}${server.pathname}`.replace(/\/+$/, "");
}

/** A path as people write it ("/v1/auth/kubernetes/", "pki/…") relative to /v1/, without slashes at its ends. */
export function apiPath(path: string): string {
  return path.replace(/^\/+|\/+$/g, "").replace(/^v1\/+/, "");
}

function readReply(site: CallSite, body: unknown): VaultReply {
  const parsed = replyBody.safeParse(body ?? {});
  if (!parsed.success) throw malformed(site, "is not vault's json");
  return { data: parsed.data.data ?? {}, auth: parsed.data.auth, warnings: parsed.data.warnings ?? [] };
}

function malformed(site: CallSite, fault: string): MeshError {
  return new MeshError("vault_malformed", `vault at ${site.server.origin}: answer to ${site.path} ${fault}`, {
    hint: "check that server is vault's address and that no proxy stands before it",
  });
}
