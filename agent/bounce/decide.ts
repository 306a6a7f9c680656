import type { PodBounceDirectiveSpec, PodBounceDirectiveStatus } from "../../common/api/pod-bounce.ts";

/** What is known of one mesh when it is decided whether its pods are restarted. */
export interface Wish {
  /** The certificate asks for restarts when the root changed. */
  readonly isAutomatic: boolean;
  /** The root that istiod was seen to sign under, as SHA-256 in lower-case hex; or why none is known. */
  readonly root: { readonly sha256: string } | { readonly unknown: string };
}

/** A PodBounceDirective as it is stored. */
export interface Directive {
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly spec: PodBounceDirectiveSpec;
  readonly status: PodBounceDirectiveStatus | undefined;
  /** The last restart that somebody asked for. */
  readonly request: RestartRequest | undefined;
}

export interface RestartRequest {
  /** By the clock of who asked: names the request. */
  readonly askedMs: number;
  /** Pods created then or before are meant: whole seconds, by the API server's clock, and never later than the asking. */
  readonly cutoffMs: number;
}

/** What the spec of a directive records of the restarts that were asked for. */
export interface Cause {
  /** Root that pods were or are restarted for. */
  readonly rootSha256: string | undefined;
  /** The request that was or is followed, by the clock of who asked. */
  readonly askedMs: number | undefined;
}

/** Which pods are restarted. */
export interface Reason {
  /** Those that began before their namespace had this root. */
  readonly changedRoot: string | undefined;
  /** Those created at this moment or before. */
  readonly requestedMs: number | undefined;
  /** A new pod must begin with this root, else it is not worth a restart yet. */
  readonly neededRoot: string | undefined;
}

export type Decision =
  /** Nothing was ever asked for. */
  | { readonly kind: "none" }
  /** A restart is asked for and cannot be begun. */
  | { readonly kind: "wait"; readonly why: string }
  /** No restart is asked for any more; what is recorded shall be this. */
  | { readonly kind: "off"; readonly cause: Cause }
  /** What was asked for is done. */
  | { readonly kind: "done" }
  | { readonly kind: "go"; readonly cause: Cause; readonly reason: Reason };

/**
 * Whether pods of a mesh are to be restarted, and which. The root counts as changed until a restart for it has finished:
 * so at adoption, and not after a renewal.
 */
export function decide({ isAutomatic, root }: Wish, directive: Directive | undefined): Decision {
  const proved = "sha256" in root ? root.sha256 : undefined;
  const cause = wantedCause(isAutomatic, proved, directive);
  const isSame = directive !== undefined && isSameCause(cause, causeOf(directive.spec));
  if (isSame && isFinished(directive)) return { kind: "done" };
  const changedRoot = isAutomatic ? cause.rootSha256 : undefined;
  const requestedMs = directive?.request?.cutoffMs;
  if (changedRoot !== undefined || requestedMs !== undefined) {
    return { kind: "go", cause, reason: { changedRoot, requestedMs, neededRoot: proved ?? changedRoot } };
  }
  if (isAutomatic) return { kind: "wait", why: "unknown" in root ? root.unknown : "waits until a root is known" };
  return directive ? { kind: "off", cause } : { kind: "none" };
}

function wantedCause(isAutomatic: boolean, proved: string | undefined, directive: Directive | undefined): Cause {
  const recorded = directive && causeOf(directive.spec).rootSha256;
  const askedMs = directive?.request?.askedMs;
  if (isAutomatic) return { rootSha256: proved ?? recorded, askedMs };
  // A root that pods were restarted for counts no more once it was left without a restart.
  const isLeft = proved !== undefined && proved !== recorded;
  return { rootSha256: isLeft ? undefined : recorded, askedMs };
}

/** The status speaks of this very spec: one that was written before says nothing of what was asked for since. */
export function isFinished({ generation, status }: Directive): boolean {
  return status?.state === "FINISHED" && status.observedGeneration === generation;
}

/** What a directive's spec records. */
export function causeOf({ rootSha256, restartRequestedAt }: PodBounceDirectiveSpec): Cause {
  const askedMs = Date.parse(restartRequestedAt ?? "");
  return { rootSha256, askedMs: Number.isNaN(askedMs) ? undefined : askedMs };
}

export const isSameCause = (a: Cause, b: Cause): boolean => a.rootSha256 === b.rootSha256 && a.askedMs === b.askedMs;
