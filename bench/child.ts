import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { MeshError } from "../common/runtime/errors.ts";
import { enterReaped, leaveReaped } from "../test/harness/reaper.ts";

/** What a process has used. */
export interface Usage {
  /** Microseconds of CPU, user and system, since its start. */
  readonly cpuUs: number;
  readonly rssBytes: number;
  /** What lives on V8's heap and beside it. */
  readonly heldBytes: number;
}

export interface ChildOptions {
  /** Module to run. */
  readonly module: string | URL;
  readonly args?: readonly string[];
  /** Flags of Node, as the first line of a bundle has them. */
  readonly nodeFlags?: readonly string[] | undefined;
  /** Where to write a CPU profile. */
  readonly cpuProf?: string | undefined;
}

/** What a bench process offers to its parent. */
export type Calls = Readonly<Record<string, (argument: never) => unknown>>;

type Answer = { readonly id: number; readonly result?: unknown; readonly error?: string };

/**
 * Loaded into each child before its program, a bundle of ours too: answers for the resources of its process by a message
 * and needs nothing of the program. Plain JavaScript, and no flag of V8 at the start: stripping types would cost memory
 * that is then measured, and another set of flags costs V8 the code cache of Node's own modules.
 */
const PROBE = `
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
const collect = () => {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc");
  for (let i = 0; i < 3; i++) gc();
};
process.on("message", ({ id, usage, gc }) => {
  if (!usage) return;
  if (gc) collect();
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, external } = process.memoryUsage();
  process.send({ id, result: { cpuUs: user + system, rssBytes: rss, heldBytes: heapUsed + external } });
});
process.channel.unref();
process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
`;

const STOP_GRACE_MS = 8_000;
const KEPT_LINES = 20;

/** A process whose use of the machine is measured. Disposing stops it. */
export class Child<C extends Calls = Calls> implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly #lines: string[] = [];
  readonly #listeners = new Set<(line: string) => void>();
  #nextId = 0;

  private constructor(child: ChildProcess, name: string) {
    this.#child = child;
    this.#name = name;
    child.on("message", (answer: Answer) => {
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    child.once("exit", (code, signal) => this.#failAll(`ended with ${signal ?? code ?? -1}`));
    if (child.stderr) createInterface({ input: child.stderr }).on("line", (line) => this.#keep(line));
  }

  static async start<C extends Calls = Calls>(options: ChildOptions): Promise<Child<C>> {
    const { module, args = [], nodeFlags = [], cpuProf } = options;
    const profile = cpuProf === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${cpuProf}`];
    const child = fork(module, args, {
      detached: true,
      env: {},
      execArgv: [...nodeFlags, "--import", `data:text/javascript,${encodeURIComponent(PROBE)}`, ...profile],
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    const started = new Child<C>(child, basename(String(module)));
    await once(child, "spawn");
    await enterReaped("group", child.pid ?? 0);
    return started;
  }

  /** Runs one of the process's calls. Throws what it threw, and when the process ends. */
  async call<K extends keyof C & string>(name: K, argument: Parameters<C[K]>[0]): Promise<Awaited<ReturnType<C[K]>>> {
    return (await this.#ask({ call: name, argument })) as Awaited<ReturnType<C[K]>>;
  }

  /** `gc` collects garbage first, so that memory in use is told from memory not yet given back. */
  async usage({ gc = false } = {}): Promise<Usage> {
    return (await this.#ask({ usage: true, gc })) as Usage;
  }

  /** The first field `key` of a JSON log line with this message, also of a line that came before. */
  async logged(message: string, key: string, signal: AbortSignal): Promise<string> {
    const done = new AbortController();
    const failed = once(this.#child, "exit", { signal: AbortSignal.any([signal, done.signal]) }).then(() => {
      throw this.#failure(`ended before it logged "${message}"`);
    });
    const found = Promise.withResolvers<string>();
    const look = (line: string): void => {
      const fields = readJson(line);
      if (fields["msg"] === message) found.resolve(String(fields[key]));
    };
    this.#lines.forEach(look);
    this.#listeners.add(look);
    try {
      return await Promise.race([found.promise, failed]);
    } finally {
      failed.catch(() => undefined);
      done.abort();
      this.#listeners.delete(look);
    }
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null) {
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
    await leaveReaped("group", child.pid ?? 0);
  }

  async #ask(message: object): Promise<unknown> {
    const id = this.#nextId++;
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      if (this.#child.connected) this.#child.send({ id, ...message });
      else resolve({ id, error: "has ended" });
    });
    if (answer.error !== undefined) throw this.#failure(answer.error);
    return answer.result;
  }

  #keep(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
    for (const listener of this.#listeners) listener(line);
  }

  #failAll(error: string): void {
    for (const [id, settle] of this.#waiting) settle({ id, error });
    this.#waiting.clear();
  }

  #failure(error: string): MeshError {
    const lines = this.#lines.length > 0 ? `; its last lines:\n${this.#lines.join("\n")}` : "";
    return new MeshError("failed_precondition", `${this.#name}: ${error}${lines}`);
  }
}

function readJson(line: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** In a child: answers its parent's calls until the parent ends it. */
export function serveCalls(calls: Calls): void {
  const run = async (name: string, argument: unknown): Promise<unknown> => calls[name]?.(argument as never);
  process.on("message", ({ id, call, argument }: { id: number; call?: string; argument?: unknown }) => {
    if (call === undefined) return;
    run(call, argument).then(
      (result) => process.send?.({ id, result }),
      (error: unknown) => process.send?.({ id, error: MeshError.from(error).message }),
    );
  });
  process.channel?.ref();
  // By exit and not by the signal itself, so that a CPU profile is written.
  process.once("SIGTERM", () => process.exit());
}
