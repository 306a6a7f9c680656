import { once } from "node:events";
import { Latest } from "../../common/runtime/latest.ts";
import { runTasks } from "../../common/runtime/tasks.ts";

/** Work that one replica does for all. `term` grows with each new leader. Ends when `signal` is aborted. */
export type LeaderTask = (signal: AbortSignal, term: number) => Promise<void>;

/** Says which of the replicas does what only one may do. */
export interface Leadership {
  /** Whether this replica leads now. */
  readonly leading: Latest<boolean>;
  /** Runs the tasks whenever this replica leads, until `signal` is aborted. To be called once. */
  run(tasks: Readonly<Record<string, LeaderTask>>, signal: AbortSignal): Promise<void>;
}

/** There is one replica, and it leads. */
export class SoleLeadership implements Leadership {
  readonly leading = new Latest(true);

  async run(tasks: Readonly<Record<string, LeaderTask>>, signal: AbortSignal): Promise<void> {
    await leadAll(tasks, signal, 0);
  }
}

/** The tasks of a leader; without any it leads all the same. */
export async function leadAll(
  tasks: Readonly<Record<string, LeaderTask>>,
  signal: AbortSignal,
  term: number,
): Promise<void> {
  const named = Object.entries(tasks).map(([name, task]) => [name, (stop: AbortSignal) => task(stop, term)] as const);
  const idle = async (stop: AbortSignal): Promise<void> => {
    if (!stop.aborted) await once(stop, "abort");
  };
  await runTasks(signal, { ...Object.fromEntries(named), lead: idle });
}
