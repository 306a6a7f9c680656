import { Command, CommanderError, Option as CommanderOption } from "commander";
import type { ConfigOf, Option, Options } from "./config.ts";
import { envOf, flagOf, readConfig } from "./config.ts";
import { MeshError } from "./errors.ts";
import { createLog, LOG_LEVELS, type Log, silentLog } from "./log.ts";
import { printable } from "./printable.ts";
import { VERSION } from "./version.ts";

/** Exit codes of every program (docs/programs.md). */
export const EXIT = {
  /** Done, or stopped as asked. */
  ok: 0,
  /** Failed while running; the last log line says why. */
  failed: 1,
  /** A flag, variable or file is wrong; nothing was started. */
  usage: 2,
  /** Did not stop within the grace period and was ended. */
  forced: 3,
} as const;

/** Shutdown that takes longer than this is ended by force. */
const GRACE_MS = 10_000;

export interface ProgramContext {
  readonly log: Log;
  /** Aborted by SIGTERM and SIGINT. */
  readonly signal: AbortSignal;
}

export interface ProgramCommand<O extends Options> {
  /** Several words for a command below another: "cluster register". */
  readonly name: string;
  readonly description: string;
  readonly options: O;
  /** Names of options that are given as arguments, in this order, and not as flags. */
  readonly operands?: readonly (keyof O & string)[];
  /** True for a command that does one thing and ends: no log lines of its own, faults as text with their hint. */
  readonly oneShot?: boolean;
  /** Faults that no single setting has, e.g. two that exclude each other; `--validate` shows them too. */
  readonly check?: (config: ConfigOf<O>) => readonly string[];
  readonly run: (config: ConfigOf<O>, context: ProgramContext) => Promise<void>;
}

/** A command with its type of options hidden, so that several fit one list. */
export type AnyCommand = { readonly register: (parent: Command, program: string) => void };

/** Makes a (sub)command: its flags, `--config`, `--validate` and `--log-level` are added here. */
export function command<const O extends Options>(definition: ProgramCommand<O>): AnyCommand {
  return {
    register: (parent, program) => {
      configure(parent.name() === definition.name ? parent : descend(parent, definition.name), definition, program);
    },
  };
}

function descend(parent: Command, name: string): Command {
  return name
    .split(" ")
    .reduce((at, word) => at.commands.find((sub) => sub.name() === word) ?? at.command(word), parent);
}

function configure<O extends Options>(target: Command, definition: ProgramCommand<O>, program: string): void {
  const { description, options, operands = [] } = definition;
  target.description(description);
  for (const [name, option] of Object.entries(options)) {
    if (operands.includes(name)) target.argument(operandOf(option, name), option.help);
    else target.addOption(toCommander(option));
  }
  if (Object.values(options).some(({ common }) => common)) {
    target.addHelpText("after", `\nFlags that most commands have, which say where the server is: ${program} options`);
  }
  target.option("--config <file>", "YAML file with settings; flags and environment variables win over it");
  target.option("--validate", "check the settings and exit");
  target.addOption(
    new CommanderOption("--log-level <level>", "least level to log").choices(LOG_LEVELS).default("info"),
  );
  target.action(async () => {
    const flags = target.opts<Record<string, unknown>>();
    const byName = Object.entries(options).map(([name, option]) => [name, flags[attributeOf(option)]]);
    const given = operands.map((name, index) => [name, target.args[index]]);
    const sources = {
      flags: Object.fromEntries([...byName, ...given]) as Record<string, unknown>,
      file: flags["config"] as string | undefined,
    };
    const config = readConfig(options, sources, definition.check);
    if (flags["validate"] === true) {
      process.stdout.write("configuration is valid\n");
      return;
    }
    const log = createLog({ level: flags["logLevel"] as (typeof LOG_LEVELS)[number], program });
    await (definition.oneShot ? runOnce(definition, config, log) : runService(definition, config, log));
    // Sockets that a library forgot must not keep a stopped program alive.
    process.exit();
  });
}

/** In brackets where it may be left out. */
function operandOf({ argument, schema }: Option, name: string): string {
  const text = argument ?? name;
  return schema.safeParse(undefined).success ? `[${text}]` : `<${text}>`;
}

async function runService<O extends Options>(
  definition: ProgramCommand<O>,
  config: ConfigOf<O>,
  log: Log,
): Promise<void> {
  const signal = stopSignal(log);
  log.info("starting", { version: VERSION, pid: process.pid });
  try {
    await definition.run(config, { log, signal });
    log.info("stopped");
  } catch (error) {
    if (!signal.aborted || MeshError.from(error).code !== "canceled") {
      log.error("failed", { err: error });
      process.exitCode = exitCodeOf(error);
    }
  }
}

async function runOnce<O extends Options>(definition: ProgramCommand<O>, config: ConfigOf<O>, log: Log): Promise<void> {
  const signal = stopSignal(silentLog);
  try {
    await definition.run(config, { log, signal });
  } catch (error) {
    if (!signal.aborted) reportAndSet(error, exitCodeOf(error));
  }
  await printed();
}

/** Resolves when all that was printed is with its reader: what a pipe has no room for yet would be lost with the process. */
async function printed(): Promise<void> {
  await new Promise((resolve) => process.stdout.write("", resolve));
}

const attributeOf = (option: Option): string => toCommander(option).attributeName();

function toCommander(option: Option): CommanderOption {
  const flags = option.argument ? `${flagOf(option)} <${option.argument}>` : flagOf(option);
  const fallback = defaultOf(option);
  const required = option.schema.safeParse(undefined).success ? "" : "; required";
  const value = fallback === undefined ? required : `; default ${describeDefault(fallback)}`;
  const result = new CommanderOption(flags, `${option.help} (env ${envOf(option)}${value})`);
  if (option.repeated) {
    result.argParser((text: string, previous?: string[]) => [...(previous ?? []), text]);
  }
  return option.common === true ? result.hideHelp() : result;
}

/** The default as somebody would write it: "500ms", where the parsed value is a number. */
function defaultOf({ schema }: Option): unknown {
  const { def } = schema._zod;
  return "defaultValue" in def ? def.defaultValue : undefined;
}

const describeDefault = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** Runs a program of one or several commands and ends the process; the one place that does. */
export async function runProgram(name: string, description: string, commands: readonly AnyCommand[]): Promise<void> {
  const root = new Command(name).description(description).version(VERSION, "--version");
  root.showHelpAfterError("(run with --help for usage)").showSuggestionAfterError().exitOverride();
  for (const each of commands) each.register(root, name);
  describeGroups(root);
  process.once("unhandledRejection", (error) => {
    reportAndSet(error, EXIT.failed);
    process.exit();
  });
  process.stdout.once("error", (error: NodeJS.ErrnoException) => {
    // A reader that has seen enough, as `head` has, is no fault.
    if (error.code !== "EPIPE") reportAndSet(error, EXIT.failed);
    process.exit();
  });
  try {
    await root.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    else reportAndSet(error, exitCodeOf(error));
  }
}

/** A group of commands, which has no description of its own, is described by what is in it. */
function describeGroups({ commands }: Command): void {
  for (const group of commands.filter((each) => each.description() === "")) {
    group.description(group.commands.map((each) => each.name()).join(", "));
  }
}

const exitCodeOf = (thrown: unknown): number =>
  MeshError.from(thrown).code === "config_invalid" ? EXIT.usage : EXIT.failed;

function reportAndSet(thrown: unknown, exitCode: number): void {
  const error = MeshError.from(thrown);
  process.stderr.write(printable(`error: ${error.message}\n${error.hint ? `hint: ${error.hint}\n` : ""}`));
  process.exitCode = exitCode;
}

/** Ends the process at once with `code`; for command lines whose work is done while sockets linger. */
export function exit(code: number): never {
  process.exit(code);
}

/** A signal that SIGTERM and SIGINT abort; a second one, or the end of the grace period, ends the process. */
export function stopSignal(log: Pick<Log, "info" | "error">): AbortSignal {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(EXIT.forced);
    log.info("stopping", { signal: name });
    controller.abort(new MeshError("canceled", `stopped by ${name}`));
    setTimeout(() => {
      log.error("did not stop in time", { graceMs: GRACE_MS });
      process.exit(EXIT.forced);
    }, GRACE_MS).unref();
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  return controller.signal;
}
