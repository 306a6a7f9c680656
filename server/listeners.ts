import { AdminServiceService, RegistryServiceService } from "../proto/gen/admin/v1/admin.ts";
import { EnrollmentServiceService } from "../proto/gen/enrollment/v1/enrollment.ts";
import type { Clock } from "../common/runtime/clock.ts";
import type { Log } from "../common/runtime/log.ts";
import type { Task, Tasks } from "../common/runtime/tasks.ts";
import { methodTable, runGrpcServer, type GrpcServerOptions } from "../common/session/server.ts";
import { adminService, registryService } from "./admin/services.ts";
import { adminSocketOf, type ServerConfig } from "./config.ts";
import { enrollmentService } from "./identity/enrollment-service.ts";
import { adminReadMethods, adminSocketMethods, enrollmentMethods, relayMethods } from "./identity/methods.ts";
import type { ServerParts } from "./parts.ts";
import { RELAY_SERVICE, relayService } from "./relay/relay-service.ts";

const ADMIN_SERVICE = "admin.v1.AdminService";
const REGISTRY_SERVICE = "admin.v1.RegistryService";

/** Anybody may call there, so nobody gets more than one small question needs. */
const ENROLLMENT_LIMITS = {
  "grpc.max_receive_message_length": 64 * 1024,
  "grpc.max_concurrent_streams": 4,
  "grpc.max_connection_age_ms": 60_000,
  "grpc.max_connection_age_grace_ms": 10_000,
};

/** A listener with TLS waits for its certificate. */
interface Listener extends Omit<GrpcServerOptions, "credentials"> {
  readonly credentials?: () => GrpcServerOptions["credentials"] & object;
}

export interface ListenerDeps {
  readonly config: ServerConfig;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each call that has ended. */
  readonly onCall: (method: string, code: string) => void;
}

/** The gRPC listeners of the server as tasks: what each serves, and to whom. */
export function listenerTasks(parts: ServerParts, { config, clock, log, onCall }: ListenerDeps): Tasks {
  const { registry, pki } = parts.identity;
  const { relay, enrollment, admin, changes } = servicesOf(parts, clock);
  const enrollmentListener: Listener = {
    listen: config.enrollmentListen,
    credentials: () => pki.certificate.enrollment,
    services: [enrollment],
    authorize: methodTable(enrollmentMethods),
    channelOptions: ENROLLMENT_LIMITS,
  };
  const listeners: Readonly<Record<string, Listener>> = {
    relay: {
      listen: config.relayListen,
      credentials: () => pki.certificate.relay,
      services: [relay, admin, changes],
      authorize: methodTable(relayMethods(registry, clock)),
      reflect: [RELAY_SERVICE, ADMIN_SERVICE, REGISTRY_SERVICE],
    },
    ...(config.disableRelayCa ? {} : { enrollment: enrollmentListener }),
    admin: {
      listen: config.adminListen,
      services: [admin],
      authorize: methodTable(adminReadMethods),
      reflect: [ADMIN_SERVICE],
      channelz: true,
    },
    "admin socket": {
      listen: `unix:${adminSocketOf(config)}`,
      services: [admin, changes],
      authorize: methodTable(adminSocketMethods),
      reflect: [ADMIN_SERVICE, REGISTRY_SERVICE],
    },
  };
  const toTask =
    (name: string, { credentials, ...options }: Listener): Task =>
    async (signal) => {
      if (credentials) await pki.opened(signal);
      const secured = { ...options, onCall, ...(credentials && { credentials: credentials() }) };
      await runGrpcServer(secured, signal, (listening) => log.info(`serving ${name}`, { listen: listening }));
    };
  return Object.fromEntries(Object.entries(listeners).map(([name, options]) => [name, toTask(name, options)]));
}

/** What there is to be served; the listeners say to whom. */
function servicesOf({ identity, hub, admin: sources }: ServerParts, clock: Clock) {
  const { registry, rotation } = identity;
  const deps = { sources, registry, rotation, clock };
  return {
    relay: relayService({ hub, identity }),
    enrollment: { definition: EnrollmentServiceService, implementation: enrollmentService({ registry, clock }) },
    admin: { definition: AdminServiceService, implementation: adminService(deps) },
    changes: { definition: RegistryServiceService, implementation: registryService(deps) },
  };
}
