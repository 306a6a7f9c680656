import { AdminServiceService, RegistryServiceService } from "../proto/gen/admin/v1/admin.ts";
import { EnrollmentServiceService } from "../proto/gen/enrollment/v1/enrollment.ts";
import { systemClock } from "../common/runtime/clock.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { createRegistry, runMonitor } from "../common/runtime/metrics.ts";
import type { ProgramContext } from "../common/runtime/process.ts";
import { StateDirectory } from "../common/runtime/state-directory.ts";
import { runTasks, type Task } from "../common/runtime/tasks.ts";
import { methodTable, runGrpcServer, type GrpcServerOptions } from "../common/session/server.ts";
import { adminService, registryService } from "./admin/services.ts";
import { adminSocketOf, serverNamesOf, type ServerConfig } from "./config.ts";
import { enrollmentService } from "./identity/enrollment-service.ts";
import { openServerIdentity } from "./identity/identity.ts";
import { adminReadMethods, adminSocketMethods, enrollmentMethods, relayMethods } from "./identity/methods.ts";
import { Reconciler } from "./intent/reconciler.ts";
import { registerServerMetrics } from "./metrics.ts";
import { Hub } from "./relay/hub.ts";
import { IntentBook } from "./relay/intent-book.ts";
import { RELAY_SERVICE, relayService } from "./relay/relay-service.ts";
import { StatusBook } from "./relay/status-book.ts";
import { StatusRoom } from "./status/status-room.ts";
import { SourceDirectory } from "./store/source-directory.ts";

/** Runs the program until its signal is aborted: opens its state, wires the rooms, serves. */
export async function runServer(config: ServerConfig, { log, signal }: ProgramContext): Promise<void> {
  const clock = systemClock;
  const directory = await StateDirectory.open(config.stateDir, { program: "enterprise-networking" });
  try {
    const identity = await openServerIdentity({ directory, names: serverNamesOf(config), clock, log });
    const { registry, certificate, ca, epochs } = identity;
    const source = new SourceDirectory({ path: config.sourceDir, clock, log, pollMs: config.sourcePollMs });
    const intents = new IntentBook();
    const reports = new StatusBook();
    const status = await StatusRoom.open({ directory, intents, reports, clock, log });
    const reconciler = await Reconciler.open({ directory, intents, log });
    const notReady = (): string[] => (reconciler.reconciled.value ? [] : ["the sources have not been read yet"]);
    const hub = new Hub({
      clock,
      log,
      intents,
      statuses: reports,
      notReady,
      isEnrolled: (cluster) => registry.get(cluster)?.state === "ENROLLED",
      nextEpoch: () => epochs.next(),
      onSessionChange: (cluster) => {
        status.touch();
        void reconciler.forgetAcknowledged(cluster);
      },
    });
    registry.onRevoked((cluster) => hub.close(cluster, revoked(cluster)));
    const sources = {
      watchStatus: (until: AbortSignal) => status.statuses.watch(until),
      listSessions: () => hub.sessions(),
      getIntent: (cluster: string) => (intents.clusters.includes(cluster) ? hub.intent(cluster) : undefined),
    };
    const admin = { definition: AdminServiceService, implementation: adminService({ sources, registry, clock }) };
    const changes = { definition: RegistryServiceService, implementation: registryService(registry, ca) };
    const relay = relayService({ hub, identity });
    const enrollment = enrollmentService({ registry, ca, clock });
    const metrics = createRegistry();
    registerServerMetrics(metrics, { registry, hub, status });
    const serve =
      (name: string, options: GrpcServerOptions): Task =>
      (stop) =>
        runGrpcServer(options, stop, (listening) => log.info(`serving ${name}`, { listen: listening }));
    const people = [ADMIN_SERVICE, REGISTRY_SERVICE];

    await runTasks(signal, {
      source: (stop) => source.run(stop),
      reconcile: (stop) => reconciler.run(source.snapshots, stop),
      status: (stop) => status.run(reconciler.reconciled, hub, stop),
      hub: (stop) => hub.run(stop),
      certificate: (stop) => certificate.run(stop),
      relay: serve("relay", {
        listen: config.relayListen,
        credentials: certificate.relay,
        services: [relay, admin, changes],
        authorize: methodTable(relayMethods(registry)),
        reflect: [RELAY_SERVICE, ...people],
      }),
      enrollment: serve("enrollment", {
        listen: config.enrollmentListen,
        credentials: certificate.enrollment,
        services: [{ definition: EnrollmentServiceService, implementation: enrollment }],
        authorize: methodTable(enrollmentMethods),
      }),
      admin: serve("admin", {
        listen: config.adminListen,
        services: [admin],
        authorize: methodTable(adminReadMethods),
        reflect: [ADMIN_SERVICE],
        channelz: true,
      }),
      "admin socket": serve("admin socket", {
        listen: `unix:${adminSocketOf(config)}`,
        services: [admin, changes],
        authorize: methodTable(adminSocketMethods),
        reflect: people,
      }),
      monitor: (stop) =>
        runMonitor({ listen: config.monitorListen, registry: metrics, ready: notReady }, stop, (listening) =>
          log.info("serving metrics", { listen: listening }),
        ),
    });
  } finally {
    await directory.close();
  }
}

const ADMIN_SERVICE = "admin.v1.AdminService";
const REGISTRY_SERVICE = "admin.v1.RegistryService";

const revoked = (cluster: string): MeshError =>
  new MeshError("permission_denied", `cluster ${cluster} was revoked`, {
    hint: `register it again: meshctl cluster register ${cluster} --renew-token`,
  });
