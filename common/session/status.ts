import { Metadata, status, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { ERROR_CODES, MeshError, type ErrorCode } from "../runtime/errors.ts";

/** Trailers that carry what a gRPC status has no room for. */
const CODE_TRAILER = "mesh-error-code";
const HINT_TRAILER = "mesh-error-hint";
const RETRY_AFTER_TRAILER = "retry-after-ms";

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
  if (error.hint) metadata.set(HINT_TRAILER, Buffer.from(error.hint).toString("base64url"));
  if (error.retryAfterMs !== undefined) metadata.set(RETRY_AFTER_TRAILER, String(Math.ceil(error.retryAfterMs)));
  return { code, details: code === status.INTERNAL ? "internal error; see the server's log" : error.message, metadata };
}

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
    ...(Number.isFinite(retryAfterMs) ? { retryAfterMs } : {}),
  });
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "code" in thrown && "details" in thrown && typeof thrown.code === "number";
}

const isErrorCode = (code: string | undefined): code is ErrorCode => code !== undefined && code in ERROR_CODES;

const text = (metadata: Metadata | undefined, key: string): string | undefined => metadata?.get(key)[0]?.toString();

/** grpc-js wraps TLS faults in long sentences; the part people need is OpenSSL's. */
function readableDetails({ details, code }: ServiceError): string {
  if (/certificate required/i.test(details)) return "the server wants a client certificate";
  const ssl = /SSL routines:[^:]*:([^:]+):/.exec(details)?.[1];
  const connecting = /Last error: (?:Error: )?(.+?)(?: \(\d{4}-[^)]+\))?\. Resolution note:/.exec(details)?.[1];
  return ssl ?? connecting ?? (details || `grpc status ${status[code]}`);
}
