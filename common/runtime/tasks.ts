import { MeshError } from "./errors.ts";

export type Task = (signal: AbortSignal) => Promise<void>;
/** By name. */
export type Tasks = Readonly<Record<string, Task>>;

/**
 * Tasks of several rooms as one set. Throws `internal` when two have the same name: spread into one object, the second
 * would silently take the place of the first.
 */
export function joinTasks<T>(...sets: readonly Readonly<Record<string, T>>[]): Readonly<Record<string, T>> {
  const joined: Record<string, T> = {};
  for (const [name, task] of sets.flatMap((set) => Object.entries(set))) {
    if (Object.hasOwn(joined, name)) throw new MeshError("internal", `two tasks are named ${name}`);
    joined[name] = task;
  }
  return joined;
}

/**
 * Runs named long-lived tasks together until `signal` is aborted or one of them fails or returns. The first failure
 * cancels the rest; all are awaited; then it is thrown with the task's name in front. A task that returns while nobody
 * asked it to stop counts as failed: long-lived work has no natural end.
 */
export async function runTasks(signal: AbortSignal, tasks: Tasks): Promise<void> {
  const stop = new AbortController();
  const linked = AbortSignal.any([signal, stop.signal]);
  let failure: MeshError | undefined;
  const supervise = async ([name, task]: [string, Task]): Promise<void> => {
    try {
      await task(linked);
      if (!linked.aborted) throw new MeshError("internal", "ended without being asked to");
    } catch (thrown) {
      if (!linked.aborted) {
        const error = MeshError.from(thrown);
        const { hint } = error;
        failure = new MeshError(error.code, `${name}: ${error.message}`, { cause: thrown, ...(hint ? { hint } : {}) });
      }
    } finally {
      stop.abort(failure);
    }
  };
  await Promise.all(Object.entries(tasks).map(supervise));
  if (failure) throw failure;
}
