import { randomBytes } from "node:crypto";
import { realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { ensureTools } from "../tools/build.ts";
import { locateTool, type ToolName } from "../tools/registry.ts";
import { runCommand } from "./command.ts";
import { temporaryFolder } from "./folder.ts";
import { freePort } from "./ports.ts";
import { startProcess, type RunningProcess } from "./process.ts";

/** What `startVault` needs, for `skipWithout`: an installed Vault has its kubernetes auth method inside, ours has not. */
export function vaultTools(): readonly ToolName[] {
  return locateTool("vault")?.installed ? ["vault"] : ["vault", "vault-plugin-auth-kubernetes"];
}

/** A running Vault. Disposing stops it and all that it held is gone. */
export interface RealVault extends AsyncDisposable {
  readonly process: RunningProcess;
  /** `http://127.0.0.1:PORT`. */
  readonly address: string;
  readonly rootToken: string;
  /** Path of the program, which is server and command line in one. */
  readonly program: string;
  /** Environment with which the program talks to this server as root. */
  readonly clientEnv: Readonly<Record<string, string>>;
  /** Runs its command line as root and returns what it printed. */
  cli(args: readonly string[], stdin?: string): Promise<string>;
}

/**
 * Starts a real Vault (or OpenBao, where that is installed) in its development mode: unsealed, in memory, plain HTTP on
 * loopback, with the kubernetes auth method at hand. Builds the programs if need be.
 */
export async function startVault(): Promise<RealVault> {
  await using stack = new AsyncDisposableStack();
  const { program, pluginArgs } = await findPrograms();
  const folder = stack.use(await temporaryFolder());
  const listen = `127.0.0.1:${await freePort()}`;
  const rootToken = randomBytes(24).toString("base64url");
  const address = `http://${listen}`;
  const running = await startProcess({
    name: "vault",
    command: program,
    args: ["server", "-dev", "-dev-no-store-token", "-dev-listen-address", listen, ...pluginArgs],
    // By environment: arguments are seen by every user of the machine.
    env: { HOME: folder.path, VAULT_DEV_ROOT_TOKEN_ID: rootToken, BAO_DEV_ROOT_TOKEN_ID: rootToken },
    logFile: folder.file("vault.log"),
    ready: async () => (await fetch(`${address}/v1/sys/health`)).ok,
  });
  stack.use(running);
  const clientEnv = { VAULT_ADDR: address, VAULT_TOKEN: rootToken, BAO_ADDR: address, BAO_TOKEN: rootToken };
  const resources = stack.move();
  return {
    process: running,
    address,
    rootToken,
    program,
    clientEnv,
    cli: (args, stdin = "") => runCommand(program, args, { stdin, env: { ...clientEnv, HOME: folder.path } }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function findPrograms(): Promise<{ program: string; pluginArgs: readonly string[] }> {
  if (locateTool("vault")?.installed) return { program: (await ensureTools(["vault"])).vault, pluginArgs: [] };
  const tools = await ensureTools(["vault", "vault-plugin-auth-kubernetes"]);
  // Vault refuses a plug-in folder that is reached through a symbolic link.
  const plugins = await realpath(dirname(tools["vault-plugin-auth-kubernetes"]));
  return { program: tools.vault, pluginArgs: ["-dev-plugin-dir", plugins] };
}
