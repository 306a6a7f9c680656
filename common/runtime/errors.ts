/**
 * Every code an error of ours can carry, with what it means to the person who reads it.
 * `docs/errors.md` lists the same codes; a house test compares the two.
 */
export const ERROR_CODES = {
  config_invalid: "a flag, an environment variable or the configuration file is wrong",
  resource_invalid: "a VirtualMesh, Mesh or KubernetesCluster was refused",
  port_in_use: "another process listens on the address",
  state_corrupt: "a file of the state directory, or a Secret of the relay, cannot be used",
  state_foreign: "the state directory belongs to another cluster or another program",
  unauthenticated: "the caller's certificate or token was not accepted",
  permission_denied: "the caller is known and may not do this",
  not_found: "the thing named does not exist",
  conflict: "the thing exists already, or was changed by another",
  invalid_argument: "a request field is wrong",
  failed_precondition: "the system is not in the state this needs",
  resource_exhausted: "a limit was reached; try again later",
  unavailable: "the other side cannot be reached or is not ready",
  deadline_exceeded: "the other side did not answer in time",
  canceled: "the work was stopped by its caller",
  unimplemented: "the other side does not know this method",
  vault_unreachable: "Vault cannot be reached, or answered with a server error",
  vault_sealed: "Vault is sealed or not initialised",
  vault_denied: "Vault refused the login or the token lacks a policy",
  vault_rejected: "Vault refused the request as wrong (400, 404, 405)",
  vault_malformed: "Vault's answer lacks what was asked for",
  ca_unsound: "the certificate authority obtained failed its checks and was not used",
  ca_other_root: "the certificate authority obtained ends in another root than the one in force",
  install_failed: "the files for istiod cannot be written",
  internal: "a fault of this program",
} as const satisfies Record<string, string>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface MeshErrorOptions {
  /** What the reader can do about it, as an order in lower case; the command line prints it after `hint:`. */
  readonly hint?: string;
  /** The fault beneath. It goes to the log and never to a peer. */
  readonly cause?: unknown;
  /** True when the same request may succeed later without anybody changing anything. */
  readonly retriable?: boolean;
  /** Least wait before a retry, in milliseconds, when the other side named one. */
  readonly retryAfterMs?: number;
}

/** The one error class. `message` names the thing, the value and the bound, in lower case, and holds no secret. */
export class MeshError extends Error {
  override readonly name = "MeshError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly retriable: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: MeshErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.retriable = options.retriable ?? RETRIABLE.has(code);
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Returns `thrown` itself when it is a MeshError, else wraps it by what Node says of it. */
  static from(thrown: unknown, fallback: ErrorCode = "internal"): MeshError {
    if (thrown instanceof MeshError) return thrown;
    if (!(thrown instanceof Error)) return new MeshError(fallback, String(thrown));
    const system = (thrown as NodeJS.ErrnoException).code;
    const code = thrown.name === "AbortError" ? "canceled" : (SYSTEM_CODES[system ?? ""] ?? fallback);
    return new MeshError(thrown.name === "TimeoutError" ? "deadline_exceeded" : code, thrown.message, {
      cause: thrown,
    });
  }
}

const RETRIABLE: ReadonlySet<ErrorCode> = new Set([
  "resource_exhausted",
  "unavailable",
  "deadline_exceeded",
  "vault_unreachable",
  "vault_sealed",
  "vault_denied",
  "install_failed",
]);

const SYSTEM_CODES: Readonly<Record<string, ErrorCode>> = {
  EADDRINUSE: "port_in_use",
  ECONNREFUSED: "unavailable",
  ECONNRESET: "unavailable",
  ENOTFOUND: "unavailable",
  EAI_AGAIN: "unavailable",
  ETIMEDOUT: "deadline_exceeded",
  ENOENT: "not_found",
  EACCES: "permission_denied",
  EPERM: "permission_denied",
};
