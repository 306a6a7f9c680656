import { IstiodServiceService } from "../proto/gen/istiod/v1/istiod.ts";
import { systemClock, type Clock } from "../common/runtime/clock.ts";
import { Latest } from "../common/runtime/latest.ts";
import type { Log } from "../common/runtime/log.ts";
import { createRegistry, runMonitor } from "../common/runtime/metrics.ts";
import type { ProgramContext } from "../common/runtime/process.ts";
import { joinTasks, runTasks, type Tasks } from "../common/runtime/tasks.ts";
import { methodTable, runGrpcServer } from "../common/session/server.ts";
import { runIstiodServer } from "./certs/istiod-server.ts";
import { debugMethods, debugService, ISTIOD_SERVICE } from "./certs/istiod-service.ts";
import type { AgentConfig } from "./config.ts";
import { registerAgentMetrics, relayClientObserver } from "./metrics.ts";
import { type AgentParts, openParts } from "./parts.ts";

interface Surroundings {
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly log: Log;
}

/** Runs the program until its signal is aborted: opens its home, wires the rooms, serves. */
export async function runAgent(config: AgentConfig, { log, signal }: ProgramContext): Promise<void> {
  const clock = systemClock;
  const registry = createRegistry();
  const observer = relayClientObserver(registry);
  const parts = await openParts({ config, clock, random: Math.random, log, observer });
  const { home, status, leader } = parts;
  try {
    registerAgentMetrics(registry, parts);
    const around = { config, clock, log };
    const isListening = new Latest(false);
    const ready = (): string[] => (isListening.value ? [] : ["the listener for istiods is not open yet"]);
    const own: Tasks = {
      istiods: (stop) => runIstiods(parts, around, { signal: stop, onListening: () => isListening.set(true) }),
      leader: (stop) => home.leadership.run((until) => leader.lead(until), stop),
      debug: (stop) => runDebug(parts, around, stop),
      monitor: (stop) =>
        runMonitor({ listen: config.monitorListen, registry, ready }, stop, (listening) =>
          log.info("serving metrics", { listen: listening }),
        ),
    };
    await runTasks(signal, joinTasks(home.tasks, status.tasks, own));
  } finally {
    await home.close();
  }
}

/** Serves istiods once it is known what is held: an istiod must not hear that there is no order where there is one. */
async function runIstiods(
  { book, home, status }: AgentParts,
  { config, clock, log }: Surroundings,
  { signal, onListening }: { signal: AbortSignal; onListening: () => void },
): Promise<void> {
  const { istiodListen: listen, istiodNames: extraNames, kubernetesNamespace: namespace } = config;
  const { reviewer, admission, claim, publishCa: publish } = home;
  const serving = { publish, namespace, extraNames };
  const options = { listen, book, list: status.list, reviewer, admission, claim, serving, clock, log };
  await home.intent.certificates.until(() => true, signal);
  await runIstiodServer(options, signal, onListening);
}

/** Reading only, on loopback, for whoever is on the machine. */
function runDebug({ status }: AgentParts, { config, log }: Surroundings, signal: AbortSignal): Promise<void> {
  const implementation = debugService(status.list);
  const options = {
    listen: config.debugListen,
    services: [{ definition: IstiodServiceService, implementation }],
    authorize: methodTable(debugMethods),
    reflect: [ISTIOD_SERVICE],
    channelz: true,
  };
  return runGrpcServer(options, signal, (listening) => log.info("serving debug grpc", { listen: listening }));
}
