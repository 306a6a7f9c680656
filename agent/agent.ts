import { IstiodServiceService } from "../proto/gen/istiod/v1/istiod.ts";
import { systemClock, type Clock } from "../common/runtime/clock.ts";
import type { Log } from "../common/runtime/log.ts";
import { createRegistry, runMonitor } from "../common/runtime/metrics.ts";
import type { ProgramContext } from "../common/runtime/process.ts";
import { StateDirectory } from "../common/runtime/state-directory.ts";
import { runTasks } from "../common/runtime/tasks.ts";
import { keyOf } from "../common/session/resource-set.ts";
import { methodTable, runGrpcServer } from "../common/session/server.ts";
import { runIstiodServer } from "./certs/istiod-server.ts";
import { debugMethods, ISTIOD_SERVICE, istiodService } from "./certs/istiod-service.ts";
import { istiodCaFileOf, type AgentConfig } from "./config.ts";
import { registerAgentMetrics } from "./metrics.ts";
import { openParts, type AgentParts } from "./parts.ts";

/** After a start the pods must have had time to link again before anybody is taken for gone. */
const RELEASE_GRACE_MS = 10 * 60_000;

interface Surroundings {
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly log: Log;
}

/** Runs the program until its signal is aborted: opens its state, wires the rooms, serves. */
export async function runAgent(config: AgentConfig, { log, signal }: ProgramContext): Promise<void> {
  const clock = systemClock;
  const { cluster } = config;
  const directory = await StateDirectory.open(config.stateDir, { program: "enterprise-agent", cluster });
  try {
    const parts = await openParts({ config, directory, clock, random: Math.random, log });
    const registry = createRegistry();
    registerAgentMetrics(registry, parts);
    const around = { config, clock, log };
    await runTasks(signal, {
      istiods: (stop) => runIstiods(parts, around, stop),
      relay: (stop) => runRelay(parts, stop),
      release: (stop) => releaseUnused(parts, clock, stop),
      debug: (stop) => runDebug(parts, around, stop),
      monitor: (stop) =>
        runMonitor({ listen: config.monitorListen, registry, ready: () => [] }, stop, (listening) =>
          log.info("serving metrics", { listen: listening }),
        ),
    });
  } finally {
    await directory.close();
  }
}

function runIstiods({ book, reviewer }: AgentParts, { config, clock, log }: Surroundings, signal: AbortSignal) {
  const { istiodListen: listen, istiodServiceAccounts: accounts, istiodNames: servingNames } = config;
  const serving = { listen, accounts, servingNames, servingCaFile: istiodCaFileOf(config) };
  return runIstiodServer({ ...serving, reviewer, book, clock, log }, signal);
}

/** Holds the session with the management server, once there is an identity to show. */
async function runRelay({ identity, relay }: AgentParts, signal: AbortSignal): Promise<void> {
  await identity.ensure(signal);
  await runTasks(signal, {
    session: (stop) => relay.run(stop),
    identity: (stop) => identity.run(stop, (csr, until) => relay.renewCertificate(csr, until)),
    renewals: async (stop) => {
      for await (const credentials of identity.credentials.watch(stop)) relay.reconnectUnless(credentials);
    },
  });
}

/** Lets go of what was removed on purpose once no pod, linked or remembered, uses it. */
async function releaseUnused({ intent, book }: AgentParts, clock: Clock, signal: AbortSignal): Promise<void> {
  await clock.sleep(RELEASE_GRACE_MS, signal);
  for await (const statuses of book.statuses.watch(signal)) {
    const used = new Set(statuses.flatMap(({ name, replicas }) => (name && replicas.length > 0 ? [keyOf(name)] : [])));
    await intent.release((name) => used.has(keyOf(name)));
  }
}

/** Reading only, on loopback, for whoever is on the machine. */
function runDebug({ book }: AgentParts, { config, clock, log }: Surroundings, signal: AbortSignal): Promise<void> {
  const implementation = istiodService({ book, clock, log, stopping: signal });
  const options = {
    listen: config.debugListen,
    services: [{ definition: IstiodServiceService, implementation }],
    authorize: methodTable(debugMethods),
    reflect: [ISTIOD_SERVICE],
    channelz: true,
  };
  return runGrpcServer(options, signal, (listening) => log.info("serving debug grpc", { listen: listening }));
}
