import * as z from "zod";
import { MeshError } from "../../common/runtime/errors.ts";
import type { HttpResponse } from "./transport.ts";

/** Which call failed, for the person who must change something. */
export interface CallSite {
  readonly server: URL;
  readonly method: string;
  /** Relative to /v1/, e.g. "pki/root/sign-intermediate". */
  readonly path: string;
  /** Setting that holds the path, e.g. "caPath". */
  readonly setting: string;
  /** Who asked, e.g. `role "gen-int-ca-istio" (service account istio-system/istiod)`. */
  readonly caller: string;
}

/** Vault's own words are shown, but a broken proxy's page is not shown whole. */
const MAX_TEXT = 300;

const errorBody = z.object({ errors: z.array(z.string()) });

/** Vault's own error text on one line, at most 300 characters. */
export function vaultText(body: unknown): string {
  const parsed = errorBody.safeParse(body);
  const text = parsed.success ? parsed.data.errors.join("; ") : typeof body === "string" ? body : "";
  const line = text.replace(/\s+/g, " ").trim();
  if (line === "") return "no error text";
  return line.length > MAX_TEXT ? `${line.slice(0, MAX_TEXT)}…` : line;
}

/**
 * Turns an answer that is no success into the error that says who must do what: 412, 429, 5xx and redirects pass by
 * themselves, 403 needs a right, other 4xx need another setting.
 */
export function statusError(site: CallSite, response: HttpResponse): MeshError {
  const { status, body } = response;
  const what = `vault at ${site.server.origin}: ${site.method} ${site.path} answered ${status}: ${vaultText(body)}`;
  if (status === 403) return deniedError(site, vaultText(body));
  const passes = status < 400 || status === 412 || status === 429 || status >= 500;
  return passes
    ? passingError(site, what, response)
    : new MeshError("vault_rejected", what, { hint: rejectedHint(site, body) });
}

/** A renewal must not wait for a day because a proxy says so. */
const MAX_RETRY_AFTER_SECONDS = 300;

/** What passes without a change of ours. `sys/health` speaks other codes; nobody asks it here. */
function passingError({ path }: CallSite, what: string, { status, headers, body }: HttpResponse): MeshError {
  const seconds = Math.min(Number(headers["retry-after"]), MAX_RETRY_AFTER_SECONDS);
  const options = { retriable: true, ...(seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {}) };
  const sealed = status === 501 || (status === 503 && /sealed|not initialized/i.test(vaultText(body)));
  if (sealed) return new MeshError("vault_sealed", what, { ...options, hint: "unseal vault: vault operator unseal" });
  if (status < 400) {
    const hint = "set server to the active node, or to a load balancer that sends requests there";
    return new MeshError("vault_unreachable", `${what}; a redirect is not followed`, { ...options, hint });
  }
  const hint = status === 429 ? "wait, or raise vault's rate limit quota" : faultHint(path, body);
  return new MeshError("vault_unreachable", what, { ...options, hint });
}

/** Vault calls a mount without a CA a fault of its own, though only an operator can give it one. */
function faultHint(path: string, body: unknown): string {
  if (!/could not fetch the CA certificate/i.test(vaultText(body))) return "look into vault's log";
  const [mount = path] = path.split(/\/(?:root|issuer)\//);
  return `give mount ${mount} a ca: vault write ${mount}/config/ca pem_bundle=@FILE (its key and certificates); or set caPath to a mount that has one`;
}

function deniedError({ server, method, path, caller }: CallSite, text: string): MeshError {
  const capability = method === "GET" ? "read" : method === "DELETE" ? "delete" : "update";
  const grant = `grant it in a policy of ${caller}: path "${path}" { capabilities = ["${capability}"] }`;
  return new MeshError("vault_denied", `vault at ${server.origin} denied ${method} ${path} to ${caller}: ${text}`, {
    hint: /invalid token/i.test(text) ? `replace ${caller}: vault does not know it` : grant,
  });
}

function rejectedHint({ path, setting }: CallSite, body: unknown): string {
  if (!/no handler for route/i.test(vaultText(body))) return `check ${setting} and what vault says of it`;
  return `check ${setting}: nothing is mounted for "${path}"; see vault secrets list and vault auth list`;
}

/** What Node says of a connection, with what to change. The cause is Node's error, which holds no request. */
export function connectionError(server: URL, thrown: unknown): MeshError {
  const { code = "", message } = thrown instanceof Error ? (thrown as NodeJS.ErrnoException) : { message: "" };
  return new MeshError("vault_unreachable", `vault at ${server.origin}: ${describe(code, message)}`, {
    retriable: true,
    hint: hintOf(code),
    cause: thrown,
  });
}

function describe(code: string, message: string): string {
  return NODE_TEXTS[code] ?? (message === "" ? "the connection failed" : message);
}

const NODE_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (connection refused)",
  ENOTFOUND: "the name does not resolve",
  EAI_AGAIN: "the name does not resolve now",
  ECONNRESET: "the connection was reset before the answer was whole",
  EPROTO: "the other side does not speak tls (is it http?)",
};

function hintOf(code: string): string {
  if (code === "ENOTFOUND" || code === "EAI_AGAIN")
    return "check vault's server address, or give one with --resolve HOST:PORT:ADDRESS";
  if (code.includes("CERT") || code.includes("SIGNATURE") || code === "UNABLE_TO_GET_ISSUER_CERT_LOCALLY") {
    return "set caBundle to the authority that signed vault's own certificate, and server to a name in it";
  }
  return "check that vault runs and that its server address and port are right";
}
