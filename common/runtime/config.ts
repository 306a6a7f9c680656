import { readFileSync } from "node:fs";
import { LineCounter, parseDocument, isMap, isScalar } from "yaml";
import type { z } from "zod";
import { MeshError } from "./errors.ts";

/** One setting of a program: a flag, an environment variable and a place in the YAML file at once. */
export interface Option<T = unknown> {
  /** Place in the file, e.g. "relay.serverAddress". The flag (--relay-server-address) follows from it. */
  readonly path: string;
  /** What is allowed; `.default()` and `.optional()` say what happens without it. Flags hand in strings. */
  readonly schema: z.ZodType<T>;
  /** One sentence for `--help`. */
  readonly help: string;
  /** Placeholder of the value in `--help`; a setting without one is a switch. */
  readonly argument?: string;
  /** Name of the environment variable where it is not MESH_RELAY_ and the path in capitals. */
  readonly env?: string;
  /** True for a flag that may be given several times; the file holds a list, the variable is split at commas. */
  readonly repeated?: boolean;
  /** True for a flag that most commands of a program have: their `--help` leaves it to the command `options`. */
  readonly common?: boolean;
}

export type Options = Readonly<Record<string, Option>>;
export type ConfigOf<O extends Options> = { readonly [K in keyof O]: z.output<O[K]["schema"]> };
export type FlagValues = Readonly<Record<string, unknown>>;

/** Declares the settings of a program; exists so that types of values follow from their schemas. */
export function defineOptions<const O extends Options>(options: O): O {
  return options;
}

/** The same settings, as those that most commands have. */
export function commonOptions<const O extends Options>(options: O): O {
  return Object.fromEntries(Object.entries(options).map(([name, each]) => [name, { ...each, common: true }])) as O;
}

const kebab = (path: string): string => path.replace(/[.]/g, "-").replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
export const flagOf = (option: Option): string => `--${kebab(option.path)}`;
export const envOf = (option: Option): string =>
  option.env ?? `MESH_RELAY_${kebab(option.path).replaceAll("-", "_").toUpperCase()}`;

/** What a configuration is read from. */
export interface ConfigSources {
  /** Values of flags by option name. */
  readonly flags: FlagValues;
  /** Path of a YAML file. */
  readonly file?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/**
 * Reads a configuration: flags over environment over file over defaults. All faults and unknown keys are reported
 * together as one `config_invalid` error, each with the key's path and where it was found. `check` says what is wrong
 * with them together; a setting that is wrong by itself stands there as it was given.
 */
export function readConfig<O extends Options>(
  options: O,
  sources: ConfigSources,
  check: (config: ConfigOf<O>) => readonly string[] = () => [],
): ConfigOf<O> {
  const faults: string[] = [];
  const file = sources.file === undefined ? noFile : readConfigFile(sources.file, options, faults);
  const env = sources.env ?? process.env;
  const config: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(options)) {
    const { value, origin } = pick(option, sources.flags[name], env, file);
    const parsed = option.schema.safeParse(value);
    config[name] = parsed.success ? parsed.data : value;
    if (!parsed.success)
      for (const issue of parsed.error.issues) faults.push(`${option.path}: ${reason(issue, value)} (${origin})`);
  }
  faults.push(...check(config as ConfigOf<O>));
  if (faults.length > 0) throw invalidConfig(faults);
  return config as ConfigOf<O>;
}

/** The one error for all faults of a configuration. */
function invalidConfig(faults: readonly string[]): MeshError {
  return new MeshError("config_invalid", `configuration is invalid:\n  ${faults.join("\n  ")}`, {
    hint: "run with --help for all settings, and with --validate to check without starting",
  });
}

interface ConfigFile {
  get(path: string): { value: unknown; origin: string } | undefined;
}
const noFile: ConfigFile = { get: () => undefined };

function pick(option: Option, flag: unknown, env: Readonly<Record<string, string | undefined>>, file: ConfigFile) {
  if (flag !== undefined) return { value: flag, origin: flagOf(option) };
  const variable = env[envOf(option)];
  if (variable !== undefined && variable !== "") {
    return { value: option.repeated ? variable.split(",") : variable, origin: `$${envOf(option)}` };
  }
  return file.get(option.path) ?? { value: undefined, origin: `${flagOf(option)}, $${envOf(option)} or the file` };
}

function reason(issue: z.core.$ZodIssue, value: unknown): string {
  if (value === undefined) return "is required";
  return lowerFirst(issue.message);
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);

function readConfigFile(path: string, options: Options, faults: string[]): ConfigFile {
  const lines = new LineCounter();
  const document = parseDocument(readText(path), { lineCounter: lines, prettyErrors: false });
  // What a file that cannot be read leaves open is no fault of its own.
  if (document.errors.length > 0) {
    throw invalidConfig(
      document.errors.map(({ pos, message }) => `${path}:${lines.linePos(pos[0]).line}: ${lowerFirst(message)}`),
    );
  }
  const values = new Map<string, { value: unknown; origin: string }>();
  const known = Object.values(options).map((option) => option.path);
  const visit = (node: unknown, prefix: string): void => {
    if (!isMap(node)) return;
    for (const { key, value } of node.items) {
      const name = prefix + String(isScalar(key) ? key.value : key);
      const line = isScalar(key) && key.range ? lines.linePos(key.range[0]).line : 1;
      if (known.includes(name)) values.set(name, { value: toJs(value), origin: `${path}:${line}` });
      else if (known.some((other) => other.startsWith(`${name}.`)) && isMap(value)) visit(value, `${name}.`);
      else faults.push(`${name}: unknown key (${path}:${line})${didYouMean(name, known)}`);
    }
  };
  if (document.contents !== null && !isMap(document.contents)) faults.push(`${path}: must be a map of settings`);
  visit(document.contents, "");
  return { get: (name) => values.get(name) };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new MeshError("config_invalid", `--config ${path}: ${(cause as Error).message}`, { cause });
  }
}

function toJs(node: unknown): unknown {
  return typeof node === "object" && node !== null && "toJSON" in node
    ? (node as { toJSON(): unknown }).toJSON()
    : node;
}

/** "; did you mean x?" for the closest of `known` within two edits, else nothing. */
export function didYouMean(name: string, known: readonly string[]): string {
  const [best] = known.map((other) => ({ other, edits: editDistance(name, other) })).sort((a, b) => a.edits - b.edits);
  return best && best.edits <= 2 ? `; did you mean ${best.other}?` : "";
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, substituted));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}
