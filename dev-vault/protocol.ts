import type { Fields } from "./fields.ts";
import type { Token } from "./tokens.ts";

/** What a request does, in the words of Vault's policies. */
export type Operation = "read" | "update" | "delete" | "list";

export interface VaultRequest {
  /** Named groups of the route's pattern. */
  readonly params: Readonly<Record<string, string>>;
  readonly fields: Fields;
  /** Of the caller; undefined only on routes that are `open`. */
  readonly token: Token | undefined;
}

export interface Reply {
  readonly data?: Readonly<Record<string, unknown>>;
  /** A token that was given out, in Vault's shape. */
  readonly auth?: Readonly<Record<string, unknown>>;
  readonly warnings?: readonly string[];
  /** Sent as it is, with this status, instead of Vault's envelope. */
  readonly bare?: { readonly status: number; readonly body: Readonly<Record<string, unknown>> };
}

/** undefined: done, nothing to say (204). */
export type Handler = (request: VaultRequest) => Reply | undefined | Promise<Reply | undefined>;

export interface Route extends Partial<Readonly<Record<Operation, Handler>>> {
  /** Matched against the whole path below the mount. */
  readonly pattern: RegExp;
  /** Needs no token. */
  readonly open?: boolean;
  /** Needs the capability `sudo` besides that of the operation. */
  readonly sudo?: boolean;
}

/** What is mounted at a path. */
export interface Backend {
  /** `mount_type` of the answers; Vault leaves it empty on open routes of secrets engines and logins. */
  readonly type: "system" | "token" | "pki" | "kubernetes";
  readonly routes: readonly Route[];
}

/** A refusal. `fault` marks what Vault itself returns as an error and not as an answer: it numbers those for callers with a token. */
export class VaultError extends Error {
  readonly status: number;
  readonly fault: boolean;

  constructor(status: number, message: string, { fault = false }: { fault?: boolean } = {}) {
    super(message);
    this.status = status;
    this.fault = fault;
  }
}

/** Vault's answer to a wrong request. */
export function invalid(message: string): VaultError {
  return new VaultError(400, message);
}

/** Vault's answer to reading what is not there: 404 with an empty list of errors. */
export function absent(): VaultError {
  return new VaultError(404, "");
}

/** Vault's answer to a list: 404 when it is empty. */
export function listReply(keys: readonly string[], more: Readonly<Record<string, unknown>> = {}): Reply {
  if (keys.length === 0) throw absent();
  return { data: { ...more, keys: keys.toSorted() } };
}
