import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { commonOptions, type ConfigOf } from "../common/runtime/config.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { parseHostPort } from "../common/runtime/settings.ts";
import { Dialer } from "../common/session/client.ts";
import { userKubeconfig, clusterOptions } from "./kubernetes/options.ts";

/** How to reach the management server; every command that asks it has these. */
export const connectionOptions = commonOptions({
  ...clusterOptions,
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

/** A connection, and what to do with it afterwards. */
interface Connection extends AsyncDisposable {
  readonly dialer: Dialer;
  /** What broke the way to the server, where that is known better than by the dialler. */
  readonly fault?: () => MeshError | undefined;
}

/** Hands `work` a connection and closes it. Faults of the connection get a hint. */
export async function withServer<T>(
  config: ConnectionConfig,
  signal: AbortSignal,
  work: (dialer: Dialer) => Promise<T>,
): Promise<T> {
  await using connection = await connect(config, signal);
  try {
    return await work(connection.dialer);
  } catch (thrown) {
    throw explain(connection.fault?.() ?? MeshError.from(thrown), config);
  }
}

async function connect(config: ConnectionConfig, signal: AbortSignal): Promise<Connection> {
  if (isOnKubernetes(config)) return connectThroughCluster(config, signal);
  const { server } = config;
  const dialer = server === undefined ? dialSocket(socketOf(config) ?? "") : await dialPort(server, config);
  return { dialer, [Symbol.asyncDispose]: () => Promise.resolve(dialer.close()) };
}

function dialSocket(path: string): Dialer {
  const address = `unix:${path}`;
  return new Dialer({ address, peer: `management server ${address}` });
}

async function connectThroughCluster(config: ConnectionConfig, signal: AbortSignal): Promise<Connection> {
  // The client of the API server is large, and most ways to a server do not need it.
  const { openTunnel } = await import("./kubernetes/tunnel.ts");
  const tunnel = await openTunnel(config, signal);
  const dialer = new Dialer(tunnel);
  const close = async (): Promise<void> => {
    dialer.close();
    await tunnel[Symbol.asyncDispose]();
  };
  return { dialer, fault: tunnel.fault, [Symbol.asyncDispose]: close };
}

async function dialPort(address: string, { cert, key, cacert, authority }: ConnectionConfig): Promise<Dialer> {
  const peer = `management server ${address}`;
  if (cert === undefined && key === undefined && cacert === undefined) return new Dialer({ address, peer });
  if (cert === undefined || key === undefined || cacert === undefined) {
    throw new MeshError("config_invalid", "--cert, --key and --cacert go together");
  }
  const [certificatePem, keyPem, rootsPem] = await Promise.all([cert, key, cacert].map(readFlagFile));
  const identity = { certificatePem: certificatePem ?? "", keyPem: keyPem ?? "" };
  const tls = { rootsPem: rootsPem ?? "", identity, minVersion: "TLSv1.3" } as const;
  return new Dialer({ address, tls, peer, ...(authority ? { authority } : {}) });
}

/** Whether the server is to be reached through the API server of its cluster. Throws when there is no server at all. */
export function isOnKubernetes(config: ConnectionConfig): boolean {
  const { server, adminSocket, stateDir, kubecontext } = config;
  const other = server ?? adminSocket ?? stateDir;
  if (kubecontext !== undefined && other !== undefined) {
    throw new MeshError("config_invalid", `context ${kubecontext} and ${other} name two servers: give one`);
  }
  return server === undefined && socketOf(config) === undefined;
}

/** The admin socket on this machine; undefined for a server in a cluster. */
function socketOf(config: ConnectionConfig): string | undefined {
  const { adminSocket, stateDir, kubecontext } = config;
  if (adminSocket !== undefined) return adminSocket;
  if (stateDir !== undefined) return join(stateDir, "admin.sock");
  if (kubecontext !== undefined || userKubeconfig(config) !== undefined) return undefined;
  throw new MeshError("config_invalid", "which server? there is neither a kubeconfig, --state-dir nor --server", {
    hint: "give --kubecontext of the management cluster, --state-dir as the server has it, or --server host:port",
  });
}

async function readFlagFile(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new MeshError("config_invalid", MeshError.from(cause).message, { cause });
  }
}

function explain(error: MeshError, config: ConnectionConfig): MeshError {
  const hint = error.hint ?? hintFor(error, config);
  return hint === undefined ? error : new MeshError(error.code, error.message, { hint, cause: error.cause });
}

/** What to do about a connection that failed, by the way that `config` has to the server. */
export function hintFor({ code, message }: MeshError, config: ConnectionConfig): string | undefined {
  const { server, cert } = config;
  if (code === "unavailable") {
    if (server !== undefined) {
      return "check that enterprise-networking listens there; port 9900 wants --cert, --key and --cacert";
    }
    if (/\bEACCES\b/.test(message)) {
      return "the socket is open to the server's own user alone: be that user, or use port 9900 with an operator's certificate";
    }
    return isOnKubernetes(config)
      ? "see kubectl logs deployment/enterprise-networking"
      : "check that enterprise-networking runs here, and that --state-dir or --admin-socket is its own";
  }
  if (code !== "unimplemented") return undefined;
  return cert === undefined && server !== undefined
    ? "changes need the admin socket on the server's machine, or port 9900 with an operator's certificate"
    : "the server may be of another version: compare meshctl --version";
}
