import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import type { Workplace } from "./workplace.ts";

/** How a block of commands ended. */
export interface ShellOutcome {
  /** 0 when every command of it ended with 0, those of a pipe too; null for one that a signal ended. */
  readonly code: number | null;
  readonly stdout: string;
  /** True when it took too long. */
  readonly timedOut: boolean;
}

/** How to run it. */
export interface ShellRun {
  readonly text: string;
  readonly timeoutMs: number;
  /** Called for each line of both outputs. */
  readonly onLine: (line: string) => void;
}

/** Takes over the variables of the step before, and leaves its own to the next one; stops at the first fault. */
const SCRIPT = [
  'if [ -e "$1" ]; then . "$1"; fi',
  'cd "$3"; set -aeo pipefail',
  '. "$2"',
  "set +a",
  // What the walk itself gives is not to come back by a walk on other clusters.
  'export -p | grep -Ev "^declare -x (PATH|KUBECONFIG|CONTEXT_1|CONTEXT_2|PWD|OLDPWD|SHLVL)(=|$)" > "$1.new"',
  'mv "$1.new" "$1"',
].join("\n");

/** Runs a block of shell commands in a bash of its own, in the walk's folder. Ctrl-C ends it: `signal`. */
export async function runShell(place: Workplace, run: ShellRun, signal: AbortSignal): Promise<ShellOutcome> {
  signal.throwIfAborted();
  const block = join(place.directory, "step.sh");
  await writeFileAtomic(block, run.text);
  const timeout = AbortSignal.timeout(run.timeoutMs);
  // Its own group: what it started is to be ended with it.
  const child = spawn("bash", ["-c", SCRIPT, "step", place.variables, block, place.directory], {
    env: { ...process.env, ...place.env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const stop = (): void => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGTERM");
  };
  const either = AbortSignal.any([signal, timeout]);
  either.addEventListener("abort", stop, { once: true });
  try {
    const lines: string[] = [];
    const keep = (line: string): void => {
      lines.push(line);
      run.onLine(line);
    };
    const read = Promise.all([eachLine(child.stdout, keep), eachLine(child.stderr, run.onLine)]);
    const [code] = (await once(child, "close")) as [number | null];
    await read;
    signal.throwIfAborted();
    return { code, stdout: lines.join("\n"), timedOut: timeout.aborted };
  } finally {
    either.removeEventListener("abort", stop);
  }
}

async function eachLine(stream: Readable, onLine: (line: string) => void): Promise<void> {
  for await (const line of createInterface({ input: stream, crlfDelay: Infinity })) onLine(line);
}
