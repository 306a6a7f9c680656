import type { ErrorCode } from "../../common/runtime/errors.ts";

/** What metrics count of the relay. Nothing in it names a cluster or a resource: there may be ten thousand. */
export interface RelayObserver {
  /** A session began ("ok"), or was refused. */
  connect(outcome: "ok" | ErrorCode): void;
  /** A session ended; "left": by the agent, or because the connection to it broke. */
  disconnect(reason: "left" | ErrorCode): void;
  push(kind: "difference" | "whole_set", bytes: number): void;
  /** What an agent said of one resource. */
  result(outcome: ResultOutcome): void;
  /** An agent held something else than it was known to hold. */
  mismatch(): void;
  /** An agent holds all it shall, so long after it was connected and something else was wanted. */
  convergence(ms: number): void;
}

/** A refusal has the agent's code, where it is one of ours: an agent must not make up label values. */
export type ResultOutcome = "applied" | "pending" | ErrorCode | "other";

export const NOT_OBSERVED: RelayObserver = {
  connect: () => undefined,
  disconnect: () => undefined,
  push: () => undefined,
  result: () => undefined,
  mismatch: () => undefined,
  convergence: () => undefined,
};
