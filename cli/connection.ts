import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { type ConfigOf, defineOptions } from "../common/runtime/config.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { parseHostPort } from "../common/runtime/settings.ts";
import { Dialer } from "../common/session/client.ts";

/** How to reach the management server; every command that asks it has these. */
export const connectionOptions = defineOptions({
  stateDir: {
    path: "state.dir",
    schema: z.string().min(1).optional(),
    help: "state directory of the server on this machine; its admin socket is used",
    argument: "dir",
  },
  adminSocket: {
    path: "admin.socket",
    schema: z.string().min(1).optional(),
    help: "admin socket of the server on this machine, where it is not admin.sock in the state directory",
    argument: "file",
  },
  server: {
    path: "server",
    schema: z
      .string()
      .refine((text) => (parseHostPort(text)?.host ?? "") !== "", "must be host:port")
      .optional(),
    help: "admin port of the server (11100, reading only), or with --cert, --key and --cacert its relay port (9900)",
    argument: "host:port",
  },
  cert: {
    path: "cert",
    schema: z.string().min(1).optional(),
    help: "operator's certificate, from meshctl operator issue",
    argument: "file",
  },
  key: { path: "key", schema: z.string().min(1).optional(), help: "operator's private key", argument: "file" },
  cacert: {
    path: "cacert",
    schema: z.string().min(1).optional(),
    help: "root certificates of the relay",
    argument: "file",
  },
  authority: {
    path: "authority",
    schema: z.string().min(1).optional(),
    help: "name to verify in the server's certificate, where it is not the host dialled",
    argument: "name",
  },
});

export type ConnectionConfig = ConfigOf<typeof connectionOptions>;

/** Deadline of a single question. */
export const CALL_TIMEOUT_MS = 15_000;

/** Hands `work` a connection and closes it. Faults of the connection get a hint. */
export async function withServer<T>(config: ConnectionConfig, work: (dialer: Dialer) => Promise<T>): Promise<T> {
  const dialer = await dialServer(config);
  try {
    return await work(dialer);
  } catch (thrown) {
    throw explain(MeshError.from(thrown), config);
  } finally {
    dialer.close();
  }
}

async function dialServer(config: ConnectionConfig): Promise<Dialer> {
  const { server, cert, key, cacert, authority } = config;
  if (server === undefined) {
    const address = `unix:${socketOf(config)}`;
    return new Dialer({ address, peer: `management server ${address}` });
  }
  const peer = `management server ${server}`;
  if (cert === undefined && key === undefined && cacert === undefined) {
    return new Dialer({ address: server, peer });
  }
  if (cert === undefined || key === undefined || cacert === undefined) {
    throw new MeshError("config_invalid", "--cert, --key and --cacert go together");
  }
  const [certificatePem, keyPem, rootsPem] = await Promise.all([cert, key, cacert].map(readFlagFile));
  const identity = { certificatePem: certificatePem ?? "", keyPem: keyPem ?? "" };
  const tls = { rootsPem: rootsPem ?? "", identity, minVersion: "TLSv1.3" } as const;
  return new Dialer({ address: server, tls, peer, ...(authority ? { authority } : {}) });
}

function socketOf({ adminSocket, stateDir }: ConnectionConfig): string {
  if (adminSocket !== undefined) return adminSocket;
  if (stateDir !== undefined) return join(stateDir, "admin.sock");
  throw new MeshError("config_invalid", "which server? none of --state-dir, --admin-socket and --server is given", {
    hint: "give --state-dir as the server has it, or --server host:port",
  });
}

async function readFlagFile(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new MeshError("config_invalid", MeshError.from(cause).message, { cause });
  }
}

function explain(error: MeshError, { server, cert }: ConnectionConfig): MeshError {
  if (error.hint !== undefined) return error;
  const hints: Partial<Record<MeshError["code"], string>> = {
    unavailable:
      server === undefined
        ? "check that enterprise-networking runs here, and that --state-dir or --admin-socket is its own"
        : "check that enterprise-networking listens there; port 9900 wants --cert, --key and --cacert",
    unimplemented:
      cert === undefined && server !== undefined
        ? "changes need the admin socket on the server's machine, or port 9900 with an operator's certificate"
        : "the server may be of another version: compare meshctl --version",
  };
  const hint = hints[error.code];
  return hint === undefined ? error : new MeshError(error.code, error.message, { hint, cause: error.cause });
}
