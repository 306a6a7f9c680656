import { once } from "node:events";
import { chmod, rm } from "node:fs/promises";
import {
  addAdminServicesToServer,
  logVerbosity,
  setLogVerbosity,
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
import { toStatus } from "./status.ts";

// Whatever grpc-js would print is in the errors it hands out, which go through our own log.
setLogVerbosity(logVerbosity.NONE);

/** A message larger than this is refused with RESOURCE_EXHAUSTED. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

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
}

export interface GrpcServer {
  /** The address in use, with the port that was taken. */
  readonly address: string;
  readonly health: HealthSwitch | undefined;
  /** Refuses new calls, ends the open ones by force after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

const DEFAULTS: ChannelOptions = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.max_concurrent_streams": 100,
};

export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const server = new Server({
    ...DEFAULTS,
    ...options.channelOptions,
    interceptors: [authorization(options.authorize)],
  });
  for (const { definition, implementation } of options.services) server.addService(definition, implementation);
  const health = options.reflect ? addHealth(server, options.reflect) : undefined;
  if (options.reflect) addReflection(server, options.reflect);
  if (options.channelz) addAdminServicesToServer(server);
  const address = await bind(server, options);
  return { address, health, close: (graceMs) => close(server, graceMs, options.listen) };
}

async function bind(server: Server, { listen, credentials }: GrpcServerOptions): Promise<string> {
  const isSocket = listen.startsWith("unix:");
  // A socket file outlives its process and then refuses the next one.
  if (isSocket) await rm(listen.slice(5), { force: true });
  const hostPort = parseHostPort(listen);
  const target = isSocket ? listen : formatHostPort({ host: hostPort?.host || "0.0.0.0", port: hostPort?.port ?? 0 });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(target, credentials ?? ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(listenError(error, listen));
      else resolve(bound);
    });
  });
  if (!isSocket) return formatHostPort({ host: hostPort?.host || "0.0.0.0", port });
  await chmod(listen.slice(5), 0o600);
  return listen;
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
  if (listen.startsWith("unix:")) await rm(listen.slice(5), { force: true });
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
