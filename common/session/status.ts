import { Metadata, status, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { ERROR_CODES, MeshError, type ErrorCode } from "../runtime/errors.ts";

/** Trailers that carry what a gRPC status has no room for. */
const CODE_TRAILER = "mesh-error-code";
const HINT_TRAILER = "mesh-error-hint";
const RETRY_AFTER_TRAILER = "retry-after-ms";

/** Trailers have little room, and what a peer sent may stand in a message. */
const MAX_TEXT = 1024;

/** A peer may ask for patience, not for ever. */
const MAX_RETRY_AFTER_MS = 10 * 60_000;

const TO_GRPC: Partial<Record<ErrorCode, status>> = {
  config_invalid: status.INVALID_ARGUMENT,
  resource_invalid: status.INVALID_ARGUMENT,
  invalid_argument: status.INVALID_ARGUMENT,
  unauthenticated: status.UNAUTHENTICATED,
  permission_denied: status.PERMISSION_DENIED,
  not_found: status.NOT_FOUND,
  conflict: status.ALREADY_EXISTS,
  failed_precondition: status.FAILED_PRECONDITION,
  resource_exhausted: status.RESOURCE_EXHAUSTED,
  unavailable: status.UNAVAILABLE,
  deadline_exceeded: status.DEADLINE_EXCEEDED,
  canceled: status.ABORTED,
  unimplemented: status.UNIMPLEMENTED,
};

const FROM_GRPC: Partial<Record<status, ErrorCode>> = {
  ...Object.fromEntries(Object.entries(TO_GRPC).map(([code, grpc]) => [grpc, code])),
  [status.INVALID_ARGUMENT]: "invalid_argument",
  // A server that drains its connections, or a proxy, says CANCELLED; the peer did not ask for it.
  [status.CANCELLED]: "unavailable",
  [status.UNKNOWN]: "unavailable",
  [status.ABORTED]: "unavailable",
};

/** What a peer is told: code, message and hint. The cause stays here. */
export function toStatus(thrown: unknown): Partial<StatusObject> & { code: status; details: string } {
  const error = MeshError.from(thrown);
  const code = TO_GRPC[error.code] ?? status.INTERNAL;
  const metadata = new Metadata();
  metadata.set(CODE_TRAILER, error.code);
  if (error.hint) metadata.set(HINT_TRAILER, Buffer.from(clip(error.hint)).toString("base64url"));
  if (error.retryAfterMs !== undefined) metadata.set(RETRY_AFTER_TRAILER, String(Math.ceil(error.retryAfterMs)));
  return {
    code,
    details: code === status.INTERNAL ? "internal error; see the server's log" : clip(error.message),
    metadata,
  };
}

/** Well-formed, because grpc-js cannot encode half of a surrogate pair and ends the process over it. */
const clip = (message: string): string =>
  (message.length > MAX_TEXT ? `${message.slice(0, MAX_TEXT - 1)}…` : message).toWellFormed();

/** Reads what a peer said, or what grpc-js says of the connection, as a MeshError. `peer` names the other side. */
export function fromStatus(thrown: unknown, peer: string): MeshError {
  if (thrown instanceof MeshError || !isServiceError(thrown)) return MeshError.from(thrown);
  const told = text(thrown.metadata, CODE_TRAILER);
  const hint = text(thrown.metadata, HINT_TRAILER);
  const retryAfterMs = Number(text(thrown.metadata, RETRY_AFTER_TRAILER) ?? Number.NaN);
  const code = isErrorCode(told) ? told : (FROM_GRPC[thrown.code] ?? "internal");
  return new MeshError(code, `${peer}: ${readableDetails(thrown)}`, {
    cause: thrown,
    ...(hint ? { hint: Buffer.from(hint, "base64url").toString() } : {}),
    ...(retryAfterMs >= 0 ? { retryAfterMs: Math.min(retryAfterMs, MAX_RETRY_AFTER_MS) } : {}),
  });
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "code" in thrown && "details" in thrown && typeof thrown.code === "number";
}

const isErrorCode = (code: string | undefined): code is ErrorCode =>
  code !== undefined && Object.hasOwn(ERROR_CODES, code);

const text = (metadata: Metadata | undefined, key: string): string | undefined => metadata?.get(key)[0]?.toString();

/** grpc-js wraps TLS faults in long sentences; the part people need is OpenSSL's. */
function readableDetails({ details, code }: ServiceError): string {
  if (/certificate required/i.test(details)) return "the server wants a client certificate";
  const ssl = /SSL routines:[^:]*:([^:]+):/.exec(details)?.[1];
  const connecting = /Last error: (?:Error: )?(.+?)(?: \(\d{4}-[^)]+\))?\. Resolution note:/.exec(details)?.[1];
  return ssl ?? connecting ?? (details || `grpc status ${status[code]}`);
}
