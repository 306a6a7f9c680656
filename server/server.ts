import { systemClock } from "../common/runtime/clock.ts";
import { createRegistry, runMonitor } from "../common/runtime/metrics.ts";
import type { ProgramContext } from "../common/runtime/process.ts";
import { StateDirectory } from "../common/runtime/state-directory.ts";
import { runTasks } from "../common/runtime/tasks.ts";
import type { ServerConfig } from "./config.ts";
import { listenerTasks } from "./listeners.ts";
import { registerServerMetrics } from "./metrics.ts";
import { openParts } from "./parts.ts";

/** Runs the program until its signal is aborted: opens its state, wires the rooms, serves. */
export async function runServer(config: ServerConfig, { log, signal }: ProgramContext): Promise<void> {
  const clock = systemClock;
  const directory = await StateDirectory.open(config.stateDir, { program: "enterprise-networking" });
  try {
    const parts = await openParts({ config, directory, clock, log });
    const { identity, home, reconciler, status, hub, notReady } = parts;
    const registry = createRegistry();
    registerServerMetrics(registry, { registry: identity.registry, hub, status });
    await runTasks(signal, {
      ...home.tasks(status.statuses),
      reconcile: (stop) => reconciler.run(home.intents, stop),
      status: (stop) => status.run(reconciler.reconciled, hub, stop),
      hub: (stop) => hub.run(stop),
      certificate: (stop) => identity.certificate.run(stop),
      ...listenerTasks(parts, { config, clock, log }),
      monitor: (stop) =>
        runMonitor({ listen: config.monitorListen, registry, ready: notReady }, stop, (listening) =>
          log.info("serving metrics", { listen: listening }),
        ),
    });
  } finally {
    await directory.close();
  }
}
