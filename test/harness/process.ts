import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { MeshError } from "../../common/runtime/errors.ts";
import { enterReaped, leaveReaped } from "./reaper.ts";
import { eventually } from "./wait.ts";

const STOP_GRACE_MS = 5_000;
const READY_TIMEOUT_MS = 60_000;
const LAST_LINES = 15;

export interface ProcessSpec {
  /** What messages call it. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Added to this process's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Takes both outputs, appended. */
  readonly logFile: string;
  /** Polled until it is true; throwing means not yet. Without it the process counts as ready once it runs. */
  readonly ready?: () => Promise<boolean>;
  readonly readyTimeoutMs?: number;
  /** What `stop` sends first. SIGKILL for programs that hang in their own shutdown. */
  readonly stopSignal?: "SIGTERM" | "SIGINT" | "SIGKILL";
}

/** How a process ended: one of the two is null. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running program. Disposing stops it. */
export interface RunningProcess extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Resolves when it has ended, for whatever reason; its whole group is then killed. */
  readonly exited: Promise<Exit>;
  /** True until it has ended. */
  readonly running: boolean;
  /** Sends a signal to the program alone, not to what it started. */
  kill(signal: NodeJS.Signals): void;
  /** Stops it, by force after 5 s; resolves when it is gone. Again is harmless. */
  stop(): Promise<Exit>;
  /** All that it has printed so far. */
  log(): Promise<string>;
}

/**
 * Starts a program in a process group of its own and waits until it is ready. Whatever becomes of this process, the
 * group is killed with it. Throws `failed_precondition` with the last lines of its log when it ends before it is
 * ready, `deadline_exceeded` when it does not become ready; nothing is left running then.
 */
export async function startProcess(spec: ProcessSpec): Promise<RunningProcess> {
  const running = await launch(spec);
  await enterReaped("group", running.pid);
  void running.exited.then(() => leaveReaped("group", running.pid));
  try {
    await untilReady(spec, running);
    return running;
  } catch (error) {
    await running.stop();
    throw error;
  }
}

async function launch(spec: ProcessSpec): Promise<RunningProcess> {
  const log = await open(spec.logFile, "a", 0o600);
  try {
    const child = spawn(spec.command, spec.args, {
      detached: true,
      env: { ...process.env, ...spec.env },
      ...(spec.cwd === undefined ? {} : { cwd: spec.cwd }),
      stdio: ["ignore", log.fd, log.fd],
    });
    // Listens from the start: a short-lived program may end while the log is being closed.
    const handle = new ChildHandle(spec, child);
    await once(child, "spawn");
    return handle;
  } finally {
    await log.close();
  }
}

async function untilReady(spec: ProcessSpec, running: RunningProcess): Promise<void> {
  const { ready, readyTimeoutMs = READY_TIMEOUT_MS } = spec;
  if (!ready) return;
  const stop = new AbortController();
  const ended = running.exited.then(async ({ code, signal }) => {
    const how = signal ? `ended by ${signal}` : `ended with code ${code ?? -1}`;
    throw new MeshError("failed_precondition", `${spec.name} ${how} before it was ready${await lastLines(running)}`);
  });
  ended.catch(() => undefined);
  try {
    const options = { timeoutMs: readyTimeoutMs, signal: stop.signal };
    await Promise.race([eventually(`${spec.name} ready`, ready, options), ended]);
  } catch (thrown) {
    const error = MeshError.from(thrown);
    if (error.code !== "deadline_exceeded") throw error;
    throw new MeshError(error.code, `${error.message}${await lastLines(running)}`, { cause: error.cause });
  } finally {
    stop.abort();
  }
}

async function lastLines(running: RunningProcess): Promise<string> {
  const lines = (await running.log()).trimEnd().split("\n").slice(-LAST_LINES);
  return `; its last lines:\n${lines.join("\n")}`;
}

class ChildHandle implements RunningProcess {
  readonly name: string;
  readonly logFile: string;
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #stopSignal: NodeJS.Signals;

  constructor({ name, logFile, stopSignal = "SIGTERM" }: ProcessSpec, child: ChildProcess) {
    this.name = name;
    this.logFile = logFile;
    this.#child = child;
    this.#stopSignal = stopSignal;
    this.exited = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        this.#killGroup();
        resolve({ code, signal });
      });
    });
  }

  /** Always there: nobody is handed a process that did not start. */
  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  kill(signal: NodeJS.Signals): void {
    if (this.running) process.kill(this.pid, signal);
  }

  async stop(): Promise<Exit> {
    this.kill(this.#stopSignal);
    const settled = new AbortController();
    const grace = delay(STOP_GRACE_MS, undefined, { signal: settled.signal }).then(
      () => this.kill("SIGKILL"),
      () => undefined,
    );
    const exit = await this.exited;
    settled.abort();
    await grace;
    return exit;
  }

  /** What the program started and left behind, such as the plug-ins of a Vault that was killed. */
  #killGroup(): void {
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  log(): Promise<string> {
    return readFile(this.logFile, "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
