import { STATUS_CODES } from "node:http";
import { type ErrorCode, MeshError, type MeshErrorOptions } from "../runtime/errors.ts";

/** What an API server says of a request it did not do: metav1.Status, as far as it is read. */
interface ApiStatus {
  readonly message?: string;
  readonly reason?: string;
  readonly details?: {
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly { readonly reason?: string; readonly message?: string }[];
  };
}

/** Cause of the errors made here, so that callers can tell 410 from other refusals. */
interface Refusal {
  readonly httpStatus: number;
  /** Kubernetes' own word: "Expired", "AlreadyExists" … */
  readonly reason: string | undefined;
}

const MAX_MESSAGE = 500;

const CODES: Readonly<Record<number, ErrorCode>> = {
  400: "invalid_argument",
  401: "unauthenticated",
  403: "permission_denied",
  404: "not_found",
  405: "unimplemented",
  409: "conflict",
  410: "failed_precondition",
  415: "unimplemented",
  422: "invalid_argument",
  429: "resource_exhausted",
  504: "deadline_exceeded",
};

const HINTS: Readonly<Record<number, string>> = {
  401: "check the token or client certificate of the kubeconfig",
  403: "grant this program's account the verb and resource named",
};

/** The error for an answer that is not 2xx. `what` is the request in words; the message is the API server's own. */
export function refusalError(what: string, httpStatus: number, body: unknown): MeshError {
  const { message, reason, details } = (typeof body === "object" && body !== null ? body : {}) as ApiStatus;
  const budget = details?.causes?.find((cause) => cause.reason === "DisruptionBudget")?.message;
  // The message of a refused eviction says that there is a budget, its cause which one.
  const text = [message ?? STATUS_CODES[httpStatus] ?? "unknown status", budget].filter(Boolean).join(" ");
  const cause: Refusal = { httpStatus, reason };
  const hint = HINTS[httpStatus];
  const options: MeshErrorOptions = {
    cause,
    ...(hint === undefined ? {} : { hint }),
    ...(details?.retryAfterSeconds === undefined ? {} : { retryAfterMs: details.retryAfterSeconds * 1000 }),
  };
  const code = CODES[httpStatus] ?? (httpStatus >= 500 ? "unavailable" : "internal");
  return new MeshError(code, `api server refused to ${what}: ${text.slice(0, MAX_MESSAGE)} (${httpStatus})`, options);
}

/** HTTP status of an answer that was made an error by `refusalError`. */
export function httpStatusOf(error: MeshError): number | undefined {
  return (error.cause as Partial<Refusal> | undefined)?.httpStatus;
}

/** True when the API server no longer has the history that was asked for, so that everything must be listed anew. */
export const isExpired = (error: MeshError): boolean => httpStatusOf(error) === 410;

/**
 * The error for a request that got no answer. Only what the system says of a connection is told: other messages of the
 * client can hold the header with the token. The thrown error itself is left out for the same reason.
 */
export function connectionError(what: string, thrown: unknown): MeshError {
  if (thrown instanceof MeshError) return thrown;
  const fault = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
  if (fault instanceof Error && fault.name === "TimeoutError") {
    return new MeshError("deadline_exceeded", `api server did not answer in time to ${what}`);
  }
  if (fault instanceof Error && fault.name === "AbortError") return new MeshError("canceled", `stopped to ${what}`);
  const code = (fault as { readonly code?: unknown } | undefined)?.code;
  const known = fault instanceof Error && typeof code === "string";
  const hint = isTlsCode(code) ? "check that the kubeconfig's certificate authority is the API server's" : undefined;
  return new MeshError(
    "unavailable",
    `no connection to the api server to ${what}: ${known ? fault.message : "unknown fault"}`,
    {
      ...(hint === undefined ? {} : { hint }),
    },
  );
}

/** True for what Node and OpenSSL say of a peer's certificate or handshake. */
export const isTlsCode = (code: unknown): boolean =>
  typeof code === "string" && /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO_|CRL/.test(code);

/** True when a thrown error comes from a handshake, so that the connections' trust must be read anew. */
export function isTlsFault(thrown: unknown): boolean {
  const fault = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
  return isTlsCode((fault as { readonly code?: unknown } | undefined)?.code);
}
