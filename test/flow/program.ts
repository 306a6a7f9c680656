import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";
import { type ConfigOf, flagOf, type Options, readConfig } from "../../common/runtime/config.ts";
import { createLog } from "../../common/runtime/log.ts";
import { EXIT, type ProgramContext } from "../../common/runtime/process.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { startProcess, type ProcessSpec } from "../harness/process.ts";
import { eventually } from "../harness/wait.ts";

const REPOSITORY = join(import.meta.dirname, "../..");

/** A line of a program's log, as people and their tools read it. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly err?: { readonly code: string; readonly message: string; readonly hint?: string };
  readonly [field: string]: unknown;
}

/** Settings by name of the option, as texts. */
export type Flags = Readonly<Record<string, string | readonly string[]>>;

/** One of our programs and its settings, to be run in this process or as one of its own. */
export interface ProgramSpec {
  readonly name: string;
  /** Script and command as on a command line. */
  readonly main: readonly [script: string, ...command: string[]];
  readonly options: Options;
  readonly flags: Flags;
  /** Runs it as a function. Throws `config_invalid` for flags that it does not take. */
  readonly run: (context: ProgramContext) => Promise<void>;
}

/** A program of which `run` takes the settings that `options` describes. */
export function programSpec<O extends Options>(
  program: Pick<ProgramSpec, "name" | "main" | "flags"> & {
    readonly options: O;
    readonly run: (config: ConfigOf<O>, context: ProgramContext) => Promise<void>;
  },
): ProgramSpec {
  const { options, flags } = program;
  return { ...program, run: async (context) => program.run(readConfig(options, { flags, env: {} }), context) };
}

/** A program that was started. Disposing stops it. */
export interface Running extends AsyncDisposable {
  /** Resolves to the exit code when it has ended; null for one that a signal ended. */
  readonly exited: Promise<number | null>;
  /** All lines so far. */
  lines(): Promise<readonly LogLine[]>;
  /** As SIGTERM does; again is harmless. */
  stop(): Promise<void>;
  /** As SIGKILL does; rejects where the program has no process of its own. */
  kill(): Promise<void>;
}

/** How programs are started. */
export type Launch = (spec: ProgramSpec, logFile: string) => Promise<Running>;

/** Waits for a line of its log. */
export function untilLogged(what: string, program: Running, accept: (line: LogLine) => boolean): Promise<LogLine> {
  return eventually(what, async () => (await program.lines()).find(accept));
}

/** Runs it as a function of this process, with the exit code that its process would have. */
export const launchHere: Launch = async ({ name, run }) => {
  const texts: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _, done) {
      texts.push(chunk.toString());
      done();
    },
  });
  const log = createLog({ level: "debug", program: name, stream });
  const stop = new AbortController();
  const exited = run({ log, signal: stop.signal }).then(
    () => EXIT.ok,
    (error: unknown) => {
      if (stop.signal.aborted && MeshError.from(error).code === "canceled") return EXIT.ok;
      log.error("failed", { err: error });
      return EXIT.failed;
    },
  );
  const end = async (): Promise<void> => {
    stop.abort(new MeshError("canceled", "stopped by the test"));
    await exited;
  };
  return {
    exited,
    lines: () => Promise.resolve(parseLines(texts.join(""))),
    stop: end,
    kill: () => Promise.reject(new Error(`${name} has no process of its own`)),
    [Symbol.asyncDispose]: end,
  };
};

/** Runs it as a process of its own. */
export const launchProcess: Launch = async (spec, logFile) =>
  launchCommand({ name: spec.name, command: process.execPath, args: commandLine(spec), logFile });

/** Runs it in a mount namespace of its own, which the shell script `prepare` furnishes. */
export const launchMounted =
  (prepare: string): Launch =>
  async (spec, logFile) => {
    const script = `${prepare} && exec "$0" "$@"`;
    const args = ["-rm", "sh", "-c", script, process.execPath, ...commandLine(spec)];
    return launchCommand({ name: spec.name, command: "unshare", args, logFile });
  };

function commandLine({ main: [script, ...command], options, flags }: ProgramSpec): string[] {
  return [join(REPOSITORY, script), ...command, ...toArguments(options, flags), "--log-level", "debug"];
}

async function launchCommand(spec: ProcessSpec): Promise<Running> {
  const running = await startProcess(spec);
  const exited = running.exited.then(({ code }) => code);
  return {
    exited,
    lines: async () => parseLines(await readFile(spec.logFile, "utf8")),
    async stop() {
      await running.stop();
    },
    async kill() {
      running.kill("SIGKILL");
      await exited;
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

/** The command line that says the same as `flags`. */
export function toArguments(options: Options, flags: Flags): string[] {
  return Object.entries(options).flatMap(([name, option]) => {
    return [flags[name] ?? []].flat().flatMap((value) => [flagOf(option), value]);
  });
}

/** What a program killed in the middle of a line is left out. */
function parseLines(text: string): LogLine[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("{") && line.endsWith("}"))
    .map((line) => JSON.parse(line) as LogLine);
}
