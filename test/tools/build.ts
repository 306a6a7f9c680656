/**
 * Gets the real programs that the tests run against. As a library: `ensureTools`. As a command:
 * `node test/tools/build.ts [names…]` gets those named, or all; `--list` says where each one is.
 */
import { execFile } from "node:child_process";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { MeshError } from "../../common/runtime/errors.ts";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import {
  builtPath,
  cacheDirectory,
  declarationOf,
  findInstalled,
  locateTool,
  moduleDirectory,
  TOOLS,
  type GoProgram,
  type GoSources,
  type ToolName,
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
  if (missing.length === 0 || findInstalled(["go"])) return undefined;
  return `neither on the path nor built: ${missing.join(", ")}; building needs go, which is not on the path`;
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
    await (tool.kind === "program" ? compile(tool, unfinished, signal) : copySources(tool, unfinished, signal));
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
  for (const file of tool.files) await writeFileAtomic(join(output, file), await readFile(join(Dir, file)), 0o644);
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

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { list: { type: "boolean" }, "where-possible": { type: "boolean" } },
  });
  const all = Object.keys(TOOLS) as ToolName[];
  const unknown = positionals.filter((name) => !(name in TOOLS));
  if (unknown.length > 0)
    throw new MeshError("invalid_argument", `no tool named ${unknown.join(", ")}: ${all.join(", ")}`);
  const names = positionals.length > 0 ? (positionals as ToolName[]) : all;
  const missing = values["where-possible"] ? missingReason(names) : undefined;
  if (missing !== undefined && process.env["CI"] !== "true") {
    progress(`${missing}; the suites with real servers will be skipped`);
    return;
  }
  if (!values.list) await ensureTools(names);
  for (const name of names) process.stdout.write(`${name.padEnd(30)} ${locateTool(name)?.path ?? "not built"}\n`);
}

if (import.meta.main) {
  await main().catch((thrown: unknown) => {
    progress(MeshError.from(thrown).message);
    process.exitCode = 1;
  });
}
