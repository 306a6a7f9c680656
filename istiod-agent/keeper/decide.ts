/** What is known at one moment. Times are milliseconds since the epoch. */
export interface Situation {
  readonly nowMs: number;
  /** The order in force, and what kind of CA it asks for; undefined while there is none. */
  readonly wanted: { readonly version: string; readonly request: string } | undefined;
  /** The CA in the directory. */
  readonly held: HeldFacts | undefined;
  /** The last attempt, when it failed. */
  readonly failed: { readonly version: string; readonly retryAtMs: number } | undefined;
}

export interface HeldFacts {
  /** What it was issued for; undefined when that is not known, and then it is taken for what is wanted. */
  readonly request: string | undefined;
  readonly renewAtMs: number;
  /** When to ask istiod next whether it signs with this CA; undefined when that is known, or nobody's to ask. */
  readonly proveAtMs: number | undefined;
}

export type IssueCause = "first" | "changed" | "renewal";

export type Action =
  | { readonly kind: "issue"; readonly cause: IssueCause }
  | { readonly kind: "prove" }
  /** Nothing to do before `untilMs`, which is Infinity when only a new order can change that. */
  | { readonly kind: "wait"; readonly untilMs: number };

/**
 * The next thing to do. A CA is never given up for want of a better one, and a proof goes on while Vault is away. An
 * attempt that failed is not repeated before its time, unless the order has changed since.
 */
export function decide(situation: Situation): Action {
  const { nowMs, held } = situation;
  const { cause, atMs } = nextIssue(situation);
  if (cause && atMs <= nowMs) return { kind: "issue", cause };
  const proveAtMs = held?.proveAtMs ?? Infinity;
  if (proveAtMs <= nowMs) return { kind: "prove" };
  return { kind: "wait", untilMs: Math.min(atMs, proveAtMs) };
}

/** Why and when to obtain a CA. Without an order there is nobody to ask. */
function nextIssue({ nowMs, wanted, held, failed }: Situation): { cause?: IssueCause; atMs: number } {
  if (!wanted) return { atMs: Infinity };
  const atMs = failed?.version === wanted.version ? Math.max(nowMs, failed.retryAtMs) : nowMs;
  if (!held) return { cause: "first", atMs };
  if (held.request !== undefined && held.request !== wanted.request) return { cause: "changed", atMs };
  return { cause: "renewal", atMs: Math.max(atMs, held.renewAtMs) };
}
