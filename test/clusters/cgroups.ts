import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { eventually } from "../harness/wait.ts";

/** A mounted hierarchy: one of the many of version 1, or the one of version 2. */
export interface Hierarchy {
  readonly path: string;
  readonly version: 1 | 2;
}

/** Pure: the hierarchies that /proc/mounts tells of. */
export function hierarchiesOf(mounts: string): Hierarchy[] {
  return mounts.split("\n").flatMap((line): Hierarchy[] => {
    const [, path = "", type = ""] = line.split(" ");
    return type === "cgroup" || type === "cgroup2" ? [{ path, version: type === "cgroup" ? 1 : 2 }] : [];
  });
}

const mounted = async (): Promise<Hierarchy[]> => hierarchiesOf(await readFile("/proc/mounts", "utf8"));

/** Folder, below a cluster's cgroup, of the programs that are not in containers. */
const NODE = "node";

/** Makes the cgroup in every hierarchy, with one below it for the node's own programs. */
export async function makeCgroup(name: string): Promise<void> {
  for (const { path, version } of await mounted()) {
    const folders = [join(path, name), join(path, name, NODE)];
    for (const folder of folders) await mkdir(folder, { recursive: true });
    if (version === 2) await handDown([path, join(path, name)]);
    // Before it has processors and memory nobody can enter it.
    if (existsSync(join(path, "cpuset.cpus")) && version === 1) await inherit(path, folders);
  }
}

async function inherit(root: string, folders: readonly string[]): Promise<void> {
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    const value = await readFile(join(root, file), "utf8");
    for (const folder of folders) await writeFile(join(folder, file), value);
  }
}

async function handDown(folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    const controllers = (await readFile(join(folder, "cgroup.controllers"), "utf8")).trim();
    const all = controllers.split(" ").filter((each) => each !== "");
    await writeFile(join(folder, "cgroup.subtree_control"), all.map((each) => `+${each}`).join(" "));
  }
}

/** The file that takes the pid of the first program of a node; whatever that starts is in the cgroup from then on. */
export async function entranceOf(name: string): Promise<string> {
  const all = await mounted();
  const chosen = all.find(({ path }) => path.endsWith("/pids")) ?? all.find(({ version }) => version === 2) ?? all[0];
  return join(chosen?.path ?? "/sys/fs/cgroup", name, NODE, "cgroup.procs");
}

/** The pids of all that is in the cgroup or below it. */
export async function processesIn(name: string): Promise<Set<number>> {
  const pids = new Set<number>();
  for (const folder of await foldersOf(name)) {
    const text = await readFile(join(folder, "cgroup.procs"), "utf8").catch(() => "");
    for (const line of text.split("\n")) if (line !== "") pids.add(Number(line));
  }
  return pids;
}

/** Kills all that is in the cgroup, also what was started meanwhile, and removes it. */
export async function removeCgroup(name: string): Promise<void> {
  await eventually(`end of the processes in ${name}`, async () => {
    const pids = await processesIn(name);
    for (const pid of pids) kill(pid);
    return pids.size === 0;
  });
  for (const folder of (await foldersOf(name)).reverse()) {
    // A process that has ended leaves its cgroup a moment later.
    await eventually(`removal of ${folder}`, async () => {
      await rmdir(folder).catch((error: unknown) => ignoreMissing(error));
      return true;
    });
  }
}

/** Names of the cgroups of all clusters, also of those that nobody knows of any more. */
export async function cgroupsNamed(prefix: string): Promise<string[]> {
  const names = await Promise.all((await mounted()).map(({ path }) => readdir(path).catch(() => [])));
  return [...new Set(names.flat().filter((name) => name.startsWith(prefix)))];
}

/** In every hierarchy, each folder before those below it. */
async function foldersOf(name: string): Promise<string[]> {
  const found = await Promise.all((await mounted()).map(({ path }) => withThoseBelow(join(path, name))));
  return found.flat();
}

async function withThoseBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined);
  if (!entries) return [];
  const below = entries.filter((entry) => entry.isDirectory()).map(({ name }) => withThoseBelow(join(folder, name)));
  return [folder, ...(await Promise.all(below)).flat()];
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function ignoreMissing(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
}
