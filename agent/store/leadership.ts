import { Latest } from "../../common/runtime/latest.ts";

/** What one replica does for all. Ends when `signal` is aborted. */
export type Lead = (signal: AbortSignal) => Promise<void>;

/** Says which of the replicas does what only one may do. */
export interface Leadership {
  /** Whether this replica leads now. */
  readonly leading: Latest<boolean>;
  /** Runs `lead` whenever this replica leads, until `signal` is aborted. To be called once. */
  run(lead: Lead, signal: AbortSignal): Promise<void>;
}

/** There is one replica, and it leads. */
export function soleLeadership(): Leadership {
  return { leading: new Latest(true), run: (lead, signal) => lead(signal) };
}
