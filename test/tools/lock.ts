import { link, mkdir, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { readFileIfExists } from "../../common/runtime/files.ts";

const POLL_MS = 500;

export interface LockOptions {
  readonly signal: AbortSignal;
  /** Called once when the lock is another's, with the pid that holds it. */
  readonly onWait: (pid: number) => void;
}

/**
 * Runs `work` while this process holds the lock file `path`, which names it by pid. Waits for a holder that lives and
 * breaks the lock of one that is gone. Two waiters that break a lock in the same instant may both get in: fit for work
 * that is wasteful to do twice, not for work that must not be.
 */
export async function withLock<T>(path: string, work: () => Promise<T>, { signal, onWait }: LockOptions): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  for (let told = false; !(await acquire(path));) {
    const holder = Number(await readFileIfExists(path));
    if (!isAlive(holder)) {
      await rm(path, { force: true });
      continue;
    }
    if (!told) onWait(holder);
    told = true;
    await delay(POLL_MS, undefined, { signal });
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

/** A link of a complete file, so nobody ever reads a lock without its pid. */
async function acquire(path: string): Promise<boolean> {
  const own = `${path}.${process.pid}`;
  await writeFile(own, String(process.pid));
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    await rm(own, { force: true });
  }
}

function isAlive(pid: number): boolean {
  if (!(pid > 0)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
