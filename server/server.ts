import { systemClock } from "../common/runtime/clock.ts";
import { createRegistry, runMonitor } from "../common/runtime/metrics.ts";
import type { ProgramContext } from "../common/runtime/process.ts";
import { joinTasks, runTasks, type Tasks } from "../common/runtime/tasks.ts";
import type { ServerConfig } from "./config.ts";
import { listenerTasks } from "./listeners.ts";
import { registerServerMetrics } from "./metrics.ts";
import { openParts } from "./parts.ts";
import { callCounter, registerAgentCounts, registerPkiMetrics, relayObserver } from "./relay-metrics.ts";
import { openHome } from "./store/home.ts";

/** Runs the program until its signal is aborted: opens its state, wires the rooms, serves. */
export async function runServer(config: ServerConfig, { log, signal }: ProgramContext): Promise<void> {
  const clock = systemClock;
  const random = Math.random;
  const home = await openHome(config, { clock, random, log });
  try {
    const registry = createRegistry();
    const parts = await openParts({ home, clock, random, log, observer: relayObserver(registry) });
    const { identity, pipeline, hub, notReady } = parts;
    const { sessions } = home;
    const { registry: clusters, pki } = identity;
    registerServerMetrics(registry, { registry: clusters, sessions, statuses: pipeline.statuses });
    registerPkiMetrics(registry, pki);
    registerAgentCounts(registry, hub.agents);
    const own: Tasks = {
      lead: (stop) => home.leadership.run(pipeline.leaderTasks, stop),
      hub: (stop) => hub.run(stop),
      certificate: (stop) => identity.pki.run(stop),
      monitor: (stop) =>
        runMonitor({ listen: config.monitorListen, registry, ready: notReady }, stop, (listening) =>
          log.info("serving metrics", { listen: listening }),
        ),
    };
    const listeners = listenerTasks(parts, { config, clock, log, onCall: callCounter(registry) });
    await runTasks(signal, joinTasks(home.tasks, pipeline.tasks, listeners, own));
  } finally {
    await home.close();
  }
}
