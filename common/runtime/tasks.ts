import { MeshError } from "./errors.ts";

export type Task = (signal: AbortSignal) => Promise<void>;

/**
 * Runs named long-lived tasks together until `signal` is aborted or one of them fails or returns. The first failure
 * cancels the rest; all are awaited; then it is thrown with the task's name in front. A task that returns while nobody
 * asked it to stop counts as failed: long-lived work has no natural end.
 */
export async function runTasks(signal: AbortSignal, tasks: Readonly<Record<string, Task>>): Promise<void> {
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
