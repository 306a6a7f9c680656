import { styleText } from "node:util";
import { pino } from "pino";
import { MeshError } from "./errors.ts";
import { printableLine } from "./printable.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Fields of a line. Names are stable: people build alerts on them (docs/logs.md). */
export type LogFields = Readonly<Record<string, unknown>>;

/** A logger. Lines go to standard error: JSON, or one readable line each on a terminal. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger whose every line carries `fields` too. */
  child(fields: LogFields): Log;
}

/** Never printed, wherever they stand: the last net under the rule that nobody hands a secret to the log. */
const SECRET_FIELDS = ["token", "jwt", "key", "privateKey", "private_key", "client_token", "authorization", "pem"];
const REDACT = { paths: SECRET_FIELDS.flatMap((name) => [name, `*.${name}`]), censor: "[redacted]" };

export interface LogOptions {
  readonly level: LogLevel;
  readonly program: string;
  readonly stream?: NodeJS.WritableStream & { isTTY?: boolean };
}

export function createLog({ level, program, stream = process.stderr }: LogOptions): Log {
  const destination = stream.isTTY ? { write: (line: string) => stream.write(readable(line)) } : stream;
  return wrap(
    pino(
      {
        level,
        base: { program },
        redact: REDACT,
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
        serializers: { err: describeError },
      },
      destination,
    ),
  );
}

/** For tests and for programs whose own output is their report. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

function wrap(logger: pino.Logger): Log {
  const at =
    (level: Exclude<LogLevel, "silent">) =>
    (message: string, fields: LogFields = {}): void => {
      logger[level](fields, message);
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (fields) => wrap(logger.child(fields)),
  };
}

function describeError(thrown: unknown): object {
  const error = MeshError.from(thrown);
  const cause = error.cause instanceof Error ? error.cause.message : undefined;
  return {
    code: error.code,
    message: error.message,
    ...(error.hint ? { hint: error.hint } : {}),
    ...(cause && cause !== error.message ? { cause } : {}),
  };
}

const COLORS = { debug: "gray", info: "green", warn: "yellow", error: "red" } as const;

function readable(line: string): string {
  const { time, level, program, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const name = String(level) as keyof typeof COLORS;
  const rest = Object.entries(fields).map(
    ([key, value]) => `${key}=${printableLine(typeof value === "string" ? value : JSON.stringify(value))}`,
  );
  if (err) {
    const { code, message, hint } = err as Record<string, string>;
    rest.push(printableLine(`error=${code ?? ""}: ${message ?? ""}${hint ? ` (hint: ${hint})` : ""}`));
  }
  const head = `${String(time).slice(11, 23)} ${styleText(COLORS[name], name.padEnd(5))} ${String(program)}`;
  return `${head}  ${printableLine(String(msg))}${rest.length > 0 ? styleText("gray", `  ${rest.join(" ")}`) : ""}\n`;
}
