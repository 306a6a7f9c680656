import { Metadata, status, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { ERROR_CODES, MeshError, type ErrorCode } from "../runtime/errors.ts";
import { clip } from "./bounds.ts";

/** Trailers that carry what a gRPC status has no room for. */
const CODE_TRAILER = "mesh-error-code";
const HINT_TRAILER = "mesh-error-hint";
const RETRY_AFTER_TRAILER = "retry-after-ms";

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
  if (error.hint) metadata.set(HINT_TRAILER, Buffer.from(encodable(error.hint)).toString("base64url"));
  if (error.retryAfterMs !== undefined) metadata.set(RETRY_AFTER_TRAILER, String(Math.ceil(error.retryAfterMs)));
  return {
    code,
    details: code === status.INTERNAL ? "internal error; see the server's log" : encodable(error.message),
    metadata,
  };
}

/**
 * Trailers have little room, and what a peer sent may stand in a message. Well-formed, because grpc-js cannot encode half
 * of a surrogate pair and ends the process over it.
 */
const encodable = (text: string): string => clip(text).toWellFormed();

/** Reads what a peer said, or what grpc-js says of the connection, as a MeshError. `peer` names the other side. */
export function fromStatus(thrown: unknown, peer: string): MeshError {
  if (thrown instanceof MeshError || !isServiceError(thrown)) return MeshError.from(thrown);
  const told = text(thrown.metadata, CODE_TRAILER);
  const toldHint = text(thrown.metadata, HINT_TRAILER);
  const hint = toldHint ? Buffer.from(toldHint, "base64url").toString() : tlsHint(thrown.details);
  const retryAfterMs = Number(text(thrown.metadata, RETRY_AFTER_TRAILER) ?? Number.NaN);
  const code = isErrorCode(told) ? told : (FROM_GRPC[thrown.code] ?? "internal");
  return new MeshError(code, `${peer}: ${readableDetails(thrown)}`, {
    cause: thrown,
    ...(hint ? { hint } : {}),
    ...(retryAfterMs >= 0 ? { retryAfterMs: Math.min(retryAfterMs, MAX_RETRY_AFTER_MS) } : {}),
  });
}

/** True for an error of `fromStatus` that says that the other side's certificate does not verify. */
export function isVerificationFault({ cause }: MeshError): boolean {
  if (!isServiceError(cause) || cause.code !== status.UNAVAILABLE) return false;
  return /certificate|unable to (?:verify|get)/i.test(cause.details) && !/certificate required/i.test(cause.details);
}

/** What to do when the other side's certificate does not verify, which is Node's to say and not the peer's. */
function tlsHint(details: string): string | undefined {
  if (/self-signed certificate|unable to (?:verify|get)|signature failure/.test(details)) {
    return "check the address; if the other side lost its state, restore that, or enrol anew with its new authority";
  }
  return undefined;
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
