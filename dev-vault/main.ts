import { once } from "node:events";
import { readFileSync } from "node:fs";
import * as z from "zod";
import { type ConfigOf, defineOptions } from "../common/runtime/config.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { command, type ProgramContext, runProgram } from "../common/runtime/process.ts";
import { listenAddress, parseHostPort } from "../common/runtime/settings.ts";
import { startDevVault } from "./server.ts";

const options = defineOptions({
  listen: {
    path: "listen",
    argument: "host:port",
    schema: listenAddress.default("127.0.0.1:8200"),
    help: "where to listen; port 0 takes a free one",
  },
  rootTokenFile: {
    path: "rootTokenFile",
    argument: "file",
    schema: z.string(),
    help: "file with the root token, which is the key of sys/unseal too",
  },
  tlsCertFile: {
    path: "tlsCertFile",
    argument: "file",
    schema: z.string().optional(),
    help: "PEM certificate to serve TLS with",
  },
  tlsKeyFile: {
    path: "tlsKeyFile",
    argument: "file",
    schema: z.string().optional(),
    help: "PEM key of that certificate",
  },
});

/** Prints one line of JSON, `{"address":"http://…"}`, on standard output when it is ready. */
async function run(config: ConfigOf<typeof options>, { log, signal }: ProgramContext): Promise<void> {
  const { tlsCertFile, tlsKeyFile } = config;
  if ((tlsCertFile === undefined) !== (tlsKeyFile === undefined)) {
    throw new MeshError("config_invalid", "tlsCertFile and tlsKeyFile: one is set without the other");
  }
  const tls = tlsCertFile && tlsKeyFile ? { cert: read(tlsCertFile), key: read(tlsKeyFile) } : undefined;
  const listen = parseHostPort(config.listen);
  const rootToken = read(config.rootTokenFile).trim();
  if (rootToken === "") throw new MeshError("config_invalid", `rootTokenFile: ${config.rootTokenFile} is empty`);
  const vault = await startDevVault({ rootToken, log, ...(listen ? { listen } : {}), ...(tls ? { tls } : {}) });
  try {
    log.warn(
      "development Vault: in memory only, one all-powerful token, no audit. Never use it for real certificates",
      {
        address: vault.address,
      },
    );
    process.stdout.write(`${JSON.stringify({ address: vault.address })}\n`);
    if (!signal.aborted) await once(signal, "abort");
  } finally {
    await vault.close();
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new MeshError("config_invalid", `${path}: ${(cause as Error).message}`, { cause });
  }
}

const description = "Embedded development Vault: enough of Vault's API to try mesh-relay, and no protection at all.";

await runProgram("dev-vault", description, [command({ name: "dev-vault", description, options, run })]);
