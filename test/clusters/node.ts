import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { MeshError } from "../../common/runtime/errors.ts";
import { readFileIfExists, writeFileAtomic } from "../../common/runtime/files.ts";
import { runCommand, type CommandOptions } from "../harness/command.ts";
import { eventually } from "../harness/wait.ts";
import { entranceOf, makeCgroup, processesIn } from "./cgroups.ts";
import { INSIDE, type ClusterPlan } from "./plan.ts";

/** Settings of the whole machine that kubelet wants to change; it is shown files instead, with the values it wants. */
const TUNABLES = {
  "vm/overcommit_memory": "1",
  "vm/panic_on_oom": "0",
  "kernel/panic": "10",
  "kernel/panic_on_oops": "1",
  "kernel/keys/root_maxkeys": "1000000",
  "kernel/keys/root_maxbytes": "25000000",
} as const;

/**
 * First program of a node, started in namespaces of its own for processes, mounts and network: when it ends, the kernel
 * ends every process and every mount of the cluster with it. Folders that the programs insist on are its own, so that
 * nothing of them is ever seen by the host. As the parent of orphans it must collect them, and `wait` does.
 */
const FIRST_PROGRAM = `
set -e
cd "$1"
mount -t proc proc /proc
mount -t tmpfs -o mode=0755 tmpfs /run
for folder in /var/lib /var/log; do mount -t tmpfs -o mode=0755 tmpfs $folder; done
mkdir -p ${INSIDE} /run/tunables
mount --bind . ${INSIDE}
shift
while [ $# -gt 0 ]; do
  name=$(echo "$1" | tr / _)
  echo "$2" >"/run/tunables/$name"
  [ ! -e "/proc/sys/$1" ] || mount --bind "/run/tunables/$name" "/proc/sys/$1"
  shift 2
done
cd /
touch ${INSIDE}/started
exec </dev/null >/dev/null 2>&1
while :; do sleep 2147483647 & wait; done
`;

interface NodeRecord {
  readonly pid: number;
  /** Clock ticks after boot at which it began: a pid may later be another's. */
  readonly startTicks: string;
}

/** The namespaces of a running node. */
export class Node {
  readonly plan: ClusterPlan;
  /** Of its first program, as the host counts. */
  readonly pid: number;

  private constructor(plan: ClusterPlan, pid: number) {
    this.plan = plan;
    this.pid = pid;
  }

  /** The node of that plan, when it runs. */
  static async find(plan: ClusterPlan): Promise<Node | undefined> {
    const text = await readFileIfExists(recordFile(plan));
    if (text === undefined) return undefined;
    const { pid, startTicks } = JSON.parse(text) as NodeRecord;
    return (await startTicksOf(pid)) === startTicks ? new Node(plan, pid) : undefined;
  }

  /** Starts a node with nothing on it; nothing of an earlier one may be left. */
  static async start(plan: ClusterPlan): Promise<Node> {
    await mkdir(join(plan.directory, "logs"), { recursive: true, mode: 0o700 });
    await mkdir(join(plan.directory, "pids"));
    await makeCgroup(plan.cgroup);
    await launch(plan);
    const pid = await eventually(`node of ${plan.name}`, async () =>
      existsSync(join(plan.directory, "started")) ? firstProgramOf(plan) : undefined,
    );
    const startTicks = (await startTicksOf(pid)) ?? "";
    await writeFileAtomic(recordFile(plan), JSON.stringify({ pid, startTicks } satisfies NodeRecord));
    return new Node(plan, pid);
  }

  /** Runs a program in the node's namespaces to its end, as `runCommand`. */
  run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
    return runCommand("nsenter", [...this.entering, "--", command, ...args], options);
  }

  /** The words of `nsenter` that lead into the node. */
  get entering(): string[] {
    return ["--target", String(this.pid), "--mount", "--net", "--pid"];
  }

  /** A path of the node, mounts of pods included, as the host reaches it. */
  path(inside: string): string {
    return join(`/proc/${this.pid}/root`, inside);
  }

  /** Starts a program that stays, as a child of the node's first program; both outputs go to its log. */
  async spawn(name: string, command: string, args: readonly string[]): Promise<void> {
    const start = `setsid "$@" >>logs/${name}.log 2>&1 </dev/null & echo $! >pids/${name}`;
    const script = `set -e; cd ${INSIDE}; echo 0 >"$1"; shift; ${start}`;
    const entrance = await entranceOf(this.plan.cgroup);
    await this.run("/bin/sh", ["-c", script, "sh", entrance, command, ...args]);
  }

  /** True while the program of that name runs. */
  async isRunning(name: string): Promise<boolean> {
    const pid = await this.#pidOf(name);
    // Not its state: a program may show as ended while some of its threads still hold its ports.
    return pid !== undefined && existsSync(this.path(`/proc/${pid}`));
  }

  /** Sends a signal to the program of that name and waits for its end, by force after `graceMs`. */
  async stop(name: string, signal: "TERM" | "KILL", graceMs = 5_000): Promise<void> {
    const pid = await this.#pidOf(name);
    if (pid === undefined || !(await this.isRunning(name))) return;
    const kill = (each: string) => this.run("/bin/sh", ["-c", `kill -s ${each} "$1" 2>/dev/null || true`, "sh", pid]);
    const ended = (timeoutMs: number) =>
      eventually(`end of ${name}`, async () => !(await this.isRunning(name)), { timeoutMs });
    await kill(signal);
    await ended(graceMs).catch(async () => {
      await kill("KILL");
      await ended(graceMs);
    });
  }

  /** Resident memory of all processes of the cluster, in bytes, shared pages counted once per process. */
  async memoryBytes(): Promise<number> {
    const pids = [...(await processesIn(this.plan.cgroup))];
    const pages = await Promise.all(pids.map((pid) => readFileIfExists(`/proc/${pid}/statm`).catch(() => undefined)));
    return pages.reduce((total, text) => total + Number(text?.split(" ")[1] ?? 0) * 4096, 0);
  }

  async #pidOf(name: string): Promise<string | undefined> {
    return (await readFileIfExists(join(this.plan.directory, "pids", name)))?.trim();
  }
}

const recordFile = ({ directory }: ClusterPlan): string => join(directory, "node.json");

/** It stays when this process ends, and nothing of it holds this process up. */
async function launch(plan: ClusterPlan): Promise<void> {
  await rm(join(plan.directory, "started"), { force: true });
  const log = await open(join(plan.directory, "logs", "node.log"), "a", 0o600);
  const namespaces = ["--fork", "--kill-child", "--pid", "--mount", "--net", "--ipc", "--uts"];
  const tunables = Object.entries(TUNABLES).flat();
  const first = ["/bin/sh", "-c", FIRST_PROGRAM, plan.cgroup, plan.directory, ...tunables];
  const enter = 'echo $$ >"$1" && shift && exec "$@"';
  const entrance = await entranceOf(plan.cgroup);
  try {
    const args = ["-c", enter, "sh", entrance, "unshare", ...namespaces, "--", ...first];
    const child = spawn("/bin/sh", args, { detached: true, stdio: ["ignore", log.fd, log.fd] });
    await once(child, "spawn");
    child.unref();
    child.once("exit", () => undefined);
  } finally {
    await log.close();
  }
}

/** The one process of the cgroup that is the first of its namespace. */
async function firstProgramOf({ cgroup, directory }: ClusterPlan): Promise<number | undefined> {
  const pids = await processesIn(cgroup);
  if (pids.size === 0) {
    const log = await readFile(join(directory, "logs", "node.log"), "utf8");
    throw new MeshError("failed_precondition", `the node of ${cgroup} did not start: ${log.trim()}`);
  }
  for (const pid of pids) {
    const status = await readFileIfExists(`/proc/${pid}/status`).catch(() => undefined);
    if (/^NSpid:\s+\d+\s+1$/m.test(status ?? "")) return pid;
  }
  return undefined;
}

async function startTicksOf(pid: number): Promise<string | undefined> {
  const stat = await readFileIfExists(`/proc/${pid}/stat`).catch(() => undefined);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}
