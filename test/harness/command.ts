import { spawn } from "node:child_process";
import { buffer } from "node:stream/consumers";
import { MeshError } from "../../common/runtime/errors.ts";

const TIMEOUT_MS = 60_000;

export interface CommandOptions {
  readonly stdin?: string;
  /** Added to this process's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

/**
 * Runs a program to its end and returns what it printed. Throws `failed_precondition` with its standard error when its
 * code is not 0; the message never has the arguments, which may be secret.
 */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { stdin = "", env, cwd, timeoutMs = TIMEOUT_MS } = options;
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    stdio: ["pipe", "pipe", "pipe"],
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  const closed = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? signal ?? -1));
  });
  // A program may end without reading its input; its exit code says what became of it.
  child.stdin.on("error", () => undefined).end(stdin);
  const [result, stdout, stderr] = await Promise.all([closed, buffer(child.stdout), buffer(child.stderr)]);
  if (result === 0) return stdout.toString("utf8");
  const name = command.split("/").at(-1) ?? command;
  throw new MeshError("failed_precondition", `${name} ended with ${result}: ${stderr.toString("utf8").trim()}`);
}
