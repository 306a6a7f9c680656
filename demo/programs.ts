import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { setTimeout as delay } from "node:timers/promises";
import { MeshError } from "../common/runtime/errors.ts";
import { enterReaped, leaveReaped } from "../test/harness/reaper.ts";
import { NODE_FLAGS } from "../scripts/programs.ts";
import { readLogLine, type Fault, type LogLine } from "./log-lines.ts";

/** The bundles of `npm run build`: what ships. */
const DIST = fileURLToPath(new URL("../dist/", import.meta.url));

/** How to run one of our own programs. */
export function bundle(program: string, ...args: readonly string[]): Pick<ProgramSpec, "command" | "args"> {
  return { command: process.execPath, args: [...(NODE_FLAGS[program] ?? []), join(DIST, `${program}.js`), ...args] };
}

/** The demo itself is given ten seconds to leave. */
const STOP_GRACE_MS = 6_000;
/** What is shown of a program that ended without naming a fault. */
const LAST_LINES = 5;

/** One program to run. */
export interface ProgramSpec {
  /** Unique, e.g. "agent cluster-1". */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Its environment beside what every program gets. */
  readonly env?: Readonly<Record<string, string>>;
  /** Addresses by purpose, for the table of processes. */
  readonly listeners?: Readonly<Record<string, string>>;
  /** Told of each line of the program's log. */
  readonly onLine?: (line: LogLine) => void;
  /** What happens when somebody kills it: it is started again, or the demo fails. */
  readonly whenKilled: "restart" | "fail";
}

/** What all programs share. */
export interface ProgramsOptions {
  /** Takes the output of each program in a file of its name. */
  readonly logs: string;
  readonly onRestart: (name: string, signal: NodeJS.Signals) => void;
}

/** A process that runs now. */
export interface ProcessView {
  readonly name: string;
  readonly pid: number;
  readonly listeners: Readonly<Record<string, string>>;
}

/** The demo's processes. Disposing stops them all; should this process be killed, the reaper kills them. */
export class Programs implements AsyncDisposable {
  readonly #options: ProgramsOptions;
  readonly #running = new Map<string, { readonly spec: ProgramSpec; readonly child: ChildProcess }>();
  readonly #faults = new Map<string, Fault>();
  readonly #lastLines = new Map<string, readonly string[]>();
  readonly #failure = new AbortController();
  #stopping = false;

  constructor(options: ProgramsOptions) {
    this.#options = options;
  }

  /** Aborted with the reason when a program ends that should not. */
  get failed(): AbortSignal {
    return this.#failure.signal;
  }

  /** Starts a program that stays. */
  async start(spec: ProgramSpec): Promise<void> {
    const { child, closed } = await this.#spawn(spec);
    void closed.then(() => this.#onEnd(spec, child));
  }

  /** Starts a program that ends by itself and waits for that. Throws when its code is not 0. */
  async complete(spec: ProgramSpec, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { child, closed } = await this.#spawn(spec);
      await Promise.race([closed, aborted(signal)]);
      if (child.exitCode === 0) return;
      if (child.signalCode === null || spec.whenKilled === "fail") throw this.#endedBadly(spec, child);
      this.#options.onRestart(spec.name, child.signalCode);
    }
  }

  /** In the order in which they were started. */
  list(): readonly ProcessView[] {
    return [...this.#running.values()].map(({ spec: { name, listeners = {} }, child }) => {
      return { name, pid: child.pid ?? 0, listeners };
    });
  }

  /** The last fault that a program logged, by its name. */
  faultOf(name: string): Fault | undefined {
    return this.#faults.get(name);
  }

  /** To be called when a program got over what it complained of. */
  forgetFault(name: string): void {
    this.#faults.delete(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    await Promise.all([...this.#running.values()].map(({ child }) => stop(child)));
  }

  /** `closed` resolves when it has ended and all that it told was read. */
  async #spawn(spec: ProgramSpec): Promise<{ child: ChildProcess; closed: Promise<void> }> {
    if (this.#stopping) throw new MeshError("canceled", "the demo is stopping");
    const child = spawn(spec.command, spec.args, {
      // A group of its own: Ctrl-C is for the demo, which then stops its programs in good order.
      detached: true,
      env: { ...inherited(), ...spec.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#running.set(spec.name, { spec, child });
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    child.once("exit", () => this.#forget(spec, child));
    await once(child, "spawn");
    await enterReaped("group", child.pid ?? 0);
    this.#keepLog(spec, child);
    return { child, closed };
  }

  #forget({ name }: ProgramSpec, child: ChildProcess): void {
    if (this.#running.get(name)?.child === child) this.#running.delete(name);
    killGroup(child);
    void leaveReaped("group", child.pid ?? 0);
  }

  #keepLog(spec: ProgramSpec, { stdout, stderr }: ChildProcess): void {
    const file = createWriteStream(join(this.#options.logs, `${spec.name.replaceAll(" ", "-")}.log`), { flags: "a" });
    stdout?.pipe(file, { end: false });
    stderr?.pipe(file);
    if (!stderr) return;
    createInterface({ input: stderr }).on("line", (text) => {
      this.#lastLines.set(spec.name, [...(this.#lastLines.get(spec.name) ?? []), text].slice(-LAST_LINES));
      const line = readLogLine(text);
      if (line?.fault) this.#faults.set(spec.name, line.fault);
      if (line) spec.onLine?.(line);
    });
  }

  #onEnd(spec: ProgramSpec, child: ChildProcess): void {
    if (this.#stopping) return;
    const { signalCode } = child;
    if (signalCode === null || spec.whenKilled === "fail") {
      this.#failure.abort(this.#endedBadly(spec, child));
      return;
    }
    this.#options.onRestart(spec.name, signalCode);
    this.start(spec).catch((error: unknown) => this.#failure.abort(error));
  }

  #endedBadly({ name }: ProgramSpec, { exitCode, signalCode }: ChildProcess): MeshError {
    const fault = this.#faults.get(name);
    const how = signalCode ? `was ended by ${signalCode}` : `ended with code ${exitCode ?? -1}`;
    const why = fault ? `${fault.code}: ${fault.message}` : (this.#lastLines.get(name) ?? []).join("\n");
    const hint = fault?.hint;
    return new MeshError(
      "failed_precondition",
      `${name} ${how}${why && `: ${why}`}`,
      hint === undefined ? {} : { hint },
    );
  }
}

/** No more than this: the user's own settings are not for these programs. */
function inherited(): NodeJS.ProcessEnv {
  const { PATH, NODE_EXTRA_CA_CERTS } = process.env;
  return { PATH, ...(NODE_EXTRA_CA_CERTS === undefined ? {} : { NODE_EXTRA_CA_CERTS }) };
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

/** Rejects with the signal's reason. */
async function aborted(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, "abort");
  throw signal.reason;
}

/** What a program started and left behind, such as the plug-ins of a Vault that was killed. */
function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const grace = new AbortController();
  void delay(STOP_GRACE_MS, undefined, { signal: grace.signal }).then(
    () => child.kill("SIGKILL"),
    () => undefined,
  );
  await ended;
  grace.abort();
}
