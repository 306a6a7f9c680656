import { randomBytes } from "node:crypto";
import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { MeshError } from "./errors.ts";
import { readFileIfExists } from "./files.ts";

/** Locks that this process holds. In a container every process is pid 1, so the number alone would not tell. */
const held = new Set<string>();

/**
 * Takes the lock file `path` for this process; the lock of a process that is gone is taken over. Returns what gives it
 * back. Throws `conflict` naming `subject` and the holder's pid while that lives. It holds among processes that see
 * each other: those of one machine and one pid namespace.
 */
export async function takeLock(path: string, subject: string): Promise<() => Promise<void>> {
  const absolute = resolve(path);
  if (held.has(absolute)) throw inUse(subject, process.pid);
  held.add(absolute);
  try {
    await acquire(absolute, subject);
  } catch (error) {
    held.delete(absolute);
    throw error;
  }
  return async () => {
    if (held.delete(absolute)) await rm(absolute, { force: true });
  };
}

async function acquire(path: string, subject: string): Promise<void> {
  const own = `${path}.${randomBytes(4).toString("hex")}`;
  await writeFile(own, await describe(process.pid), { mode: 0o600 });
  try {
    // link(2) fails where the name exists, and shows the lock with its content at once.
    while (!(await tryLink(own, path))) await removeStale(path, subject);
  } finally {
    await rm(own, { force: true });
  }
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

async function removeStale(path: string, subject: string): Promise<void> {
  const text = await readFileIfExists(path);
  if (text === undefined) return;
  const pid = Number.parseInt(text, 10);
  if (pid > 0 && pid !== process.pid && isAlive(pid) && (await describe(pid)) === text) throw inUse(subject, pid);
  const stale = `${path}.${randomBytes(4).toString("hex")}`;
  if (!(await renameIfExists(path, stale))) return;
  // Another process may have taken the lock between reading and renaming: then it gets it back.
  if ((await readFile(stale, "utf8")) !== text) await tryLink(stale, path);
  await rm(stale, { force: true });
}

async function renameIfExists(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** The pid, and where the kernel tells it the start time, so that a number used again is not taken for its former owner. */
async function describe(pid: number): Promise<string> {
  const stat = await readFileIfExists(`/proc/${pid}/stat`);
  // The program's name stands in brackets and may hold spaces; the start time is the 20th field after it.
  const started = stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  return `${pid}${started ? ` ${started}` : ""}\n`;
}

function inUse(subject: string, pid: number): MeshError {
  return new MeshError("conflict", `${subject} is in use by process ${pid}`, {
    hint: `stop process ${pid}, or give another directory`,
  });
}
