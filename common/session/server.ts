import { once } from "node:events";
import { chmod, lstat, mkdtemp, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  addAdminServicesToServer,
  status,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  ServerListenerBuilder,
  type ChannelOptions,
  type Metadata,
  type ServerInterceptor,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { listenError } from "../runtime/metrics.ts";
import { MeshError } from "../runtime/errors.ts";
import { formatHostPort, parseHostPort } from "../runtime/settings.ts";
import { addHealth, addReflection, type HealthSwitch } from "./debug.ts";
import { rememberPrincipal } from "./handlers.ts";
import { MAX_MESSAGE_BYTES } from "./grpc.ts";
import { toStatus } from "./status.ts";

/** What open streams get to take their leave. */
const CLOSE_GRACE_MS = 1_000;

/** What authorization sees of a call. */
export interface Caller {
  /** "/package.Service/Method" */
  readonly method: string;
  readonly metadata: Metadata;
  /** DER of the verified client certificate. */
  readonly certificate: Buffer | undefined;
  readonly peer: string;
}

/** Returns what the handler gets as its principal, or throws. Called for every call, reflection and health too. */
export type Authorize = (caller: Caller) => unknown;

export interface GrpcServerOptions {
  /** "host:port" or "unix:/path". */
  readonly listen: string;
  readonly credentials?: ServerCredentials;
  readonly services: readonly { definition: ServiceDefinition; implementation: UntypedServiceImplementation }[];
  readonly authorize: Authorize;
  /** Fully qualified names of services to offer by reflection and health; none: neither is served. */
  readonly reflect?: readonly string[];
  /** Serve channelz: only where the listener is loopback or a socket, it tells peers' addresses. */
  readonly channelz?: boolean;
  readonly channelOptions?: ChannelOptions;
  /** Told of each call that has ended: its method, "other" where it is not served here, and the name of its gRPC status. */
  readonly onCall?: (method: string, code: string) => void;
}

export interface GrpcServer {
  /** The address in use, with the port that was taken. */
  readonly address: string;
  readonly health: HealthSwitch | undefined;
  /** Refuses new calls, ends the open ones by force after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

const SOCKET_SCHEME = "unix:";

const DEFAULTS: ChannelOptions = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.max_concurrent_streams": 100,
  // A connection without a call is let go: whoever opens many and asks nothing must not use up the descriptors.
  "grpc.max_connection_idle_ms": 60_000,
};

export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const server = new Server({
    ...DEFAULTS,
    ...options.channelOptions,
    interceptors: [...(options.onCall ? [counting(options)] : []), authorization(options.authorize)],
  });
  for (const { definition, implementation } of options.services) server.addService(definition, implementation);
  const health = options.reflect ? addHealth(server, options.reflect) : undefined;
  if (options.reflect) addReflection(server, options.reflect);
  if (options.channelz) addAdminServicesToServer(server);
  const address = await bind(server, options);
  return { address, health, close: (graceMs) => close(server, graceMs, options.listen) };
}

async function bind(server: Server, { listen, credentials }: GrpcServerOptions): Promise<string> {
  if (listen.startsWith(SOCKET_SCHEME)) return bindSocket(server, listen.slice(SOCKET_SCHEME.length));
  const hostPort = parseHostPort(listen);
  const target = formatHostPort({ host: hostPort?.host || "0.0.0.0", port: hostPort?.port ?? 0 });
  const port = await bindTo(server, { target, listen, credentials });
  return formatHostPort({ host: hostPort?.host || "0.0.0.0", port });
}

/**
 * Makes the socket in a folder of mode 0700 and moves it from there: whatever the process's mask, nobody else can open it
 * before its own mode is 0600. A socket that outlived its process is replaced; a file of another kind is not.
 */
async function bindSocket(server: Server, path: string): Promise<string> {
  const listen = `${SOCKET_SCHEME}${path}`;
  const found = await lstat(path).catch(() => undefined);
  if (found && !found.isSocket()) {
    throw new MeshError("conflict", `cannot listen on ${path}: a file that is no socket is there`, {
      hint: "give another path, or move the file away",
    });
  }
  // Inside the socket's own folder, which may be the only writable one. Short names: a socket's path has 107 bytes.
  const folder = await mkdtemp(`${dirname(path)}/.`).catch((error: unknown) => {
    throw listenError(error, path);
  });
  try {
    const made = join(folder, "s");
    await bindTo(server, { target: `${SOCKET_SCHEME}${made}`, listen });
    await chmod(made, 0o600);
    await rename(made, path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return listen;
}

interface Binding {
  /** Where the listener is made. */
  readonly target: string;
  /** What errors call it. */
  readonly listen: string;
  readonly credentials?: ServerCredentials | undefined;
}

async function bindTo(server: Server, { target, listen, credentials }: Binding): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(target, credentials ?? ServerCredentials.createInsecure(), (error, port) => {
      if (error) reject(listenError(error, listen));
      else resolve(port);
    });
  });
}

async function close(server: Server, graceMs: number, listen: string): Promise<void> {
  await new Promise<void>((resolve) => {
    const force = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, graceMs);
    server.tryShutdown(() => {
      clearTimeout(force);
      resolve();
    });
  });
  if (listen.startsWith(SOCKET_SCHEME)) await rm(listen.slice(SOCKET_SCHEME.length), { force: true });
}

/** Tells of each call that has ended, whoever ended it. */
function counting({ services, onCall }: GrpcServerOptions): ServerInterceptor {
  const methods = services.flatMap(({ definition }) => Object.values(definition).map(({ path }) => path));
  const names = new Map(methods.map((path) => [path, path.slice(path.lastIndexOf("/") + 1)]));
  return ({ path }, call) =>
    new ServerInterceptingCall(call, {
      sendStatus: (ended, next) => {
        onCall?.(names.get(path) ?? "other", status[ended.code]);
        next(ended);
      },
    });
}

/** Asks `authorize` before anything of a call reaches its handler. */
function authorization(authorize: Authorize): ServerInterceptor {
  return (definition, call) => {
    const { sslPeerCertificate } = call.getAuthContext();
    const caller = {
      method: definition.path,
      certificate: sslPeerCertificate?.raw,
      peer: call.getPeer(),
    };
    return new ServerInterceptingCall(call, {
      start: (next) => {
        const listener = new ServerListenerBuilder().withOnReceiveMetadata((metadata, proceed) => {
          void admit(authorize, { ...caller, metadata }).then(
            (principal) => {
              rememberPrincipal(metadata, principal);
              proceed(metadata);
            },
            (error: unknown) => call.sendStatus(toStatus(error)),
          );
        });
        next(listener.build());
      },
    });
  };
}

const admit = async (authorize: Authorize, caller: Caller): Promise<unknown> => authorize(caller);

/** Who may call what: method path or "/package.Service/*" to the rule that admits; everything else is refused. */
export type MethodTable = Readonly<Record<string, (caller: Caller) => unknown>>;

/** Deny by default: a method that is not in the table does not exist for the caller. */
export function methodTable(table: MethodTable): Authorize {
  return (caller) => {
    const rule = table[caller.method] ?? table[`${caller.method.slice(0, caller.method.lastIndexOf("/"))}/*`];
    if (!rule) throw new MeshError("unimplemented", `${caller.method} is not served here`);
    return rule(caller);
  };
}

/** Serves until `signal` is aborted; `onListening` gets the address in use. Throws `port_in_use`. */
export async function runGrpcServer(
  options: GrpcServerOptions,
  signal: AbortSignal,
  onListening: (address: string, health: HealthSwitch | undefined) => void = () => undefined,
): Promise<void> {
  const server = await startGrpcServer(options);
  server.health?.(true);
  onListening(server.address, server.health);
  if (!signal.aborted) await once(signal, "abort");
  server.health?.(false);
  await server.close(CLOSE_GRACE_MS);
}
