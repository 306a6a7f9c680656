import { setTimeout as delay } from "node:timers/promises";
import { NODE_FLAGS } from "../../scripts/programs.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Workplace } from "../bench.ts";
import { Child } from "../child.ts";
import type { BenchSettings } from "../config.ts";
import { figureOf, type Figure } from "../figures.ts";
import { makeFleet } from "../fleet.ts";
import type { RestartLoadCalls } from "./restart-load.ts";
import type { ListenArgument, RelayServerCalls } from "./server-calls.ts";

interface Restart {
  readonly backMs: number;
  readonly cpuMs: number;
}

/** Who is not back by then is stuck. */
const LIMIT_MS = 5 * 60_000;
const GOAL = { of: "value", atMost: 10_000 } as const;

/**
 * A server that is killed and comes back, with agents whose client is the real one. Their waits have grown to what they
 * are at most long before the outage ends, so that a longer outage is the same.
 */
export async function measureRestart(settings: BenchSettings, workplace: Workplace): Promise<Figure[]> {
  const { agents, outageMs } = settings.restart;
  const { progress, signal, file } = workplace;
  progress(`restart: making identities of ${agents} agents`);
  const argument = { stateDir: file("state"), fleetFile: file("fleet.json"), agents, admission: true };
  await makeFleet(agents, argument);
  const done: Restart[] = [];
  await using load = await Child.start<RestartLoadCalls>({ module: new URL("./restart-load.ts", import.meta.url) });
  let server = await startServer();
  try {
    const listen = await server.call("listen", argument);
    await load.call("start", { address: listen, fleetFile: argument.fleetFile, agents });
    await settled(server);
    while (done.length < settings.repetitions) {
      progress(`restart: outage ${done.length + 1} of ${settings.repetitions}`);
      await server.kill();
      await delay(outageMs, undefined, { signal });
      server = await startServer();
      done.push(await measureReturn(server, { ...argument, listen }));
    }
  } finally {
    await server[Symbol.asyncDispose]();
  }
  return [
    figureOf(
      { name: "all agents back after a restart", agents, unit: "ms", goal: GOAL },
      done.map(({ backMs }) => backMs),
    ),
    figureOf(
      { name: "server CPU until all are back", agents, unit: "ms" },
      done.map(({ cpuMs }) => cpuMs),
    ),
  ];
}

const startServer = (): Promise<Child<RelayServerCalls>> =>
  Child.start<RelayServerCalls>({
    module: new URL("./ours.ts", import.meta.url),
    nodeFlags: NODE_FLAGS["enterprise-networking"],
  });

/** From the moment in which the server listens until each agent has answered its first push. */
async function measureReturn(server: Child<RelayServerCalls>, argument: ListenArgument): Promise<Restart> {
  await server.call("listen", argument);
  const startedMs = performance.now();
  const before = await server.usage();
  await settled(server);
  const after = await server.usage();
  return { backMs: performance.now() - startedMs, cpuMs: (after.cpuUs - before.cpuUs) / 1000 };
}

/** Resolves when all agents have answered their first push; throws when that takes too long. */
async function settled(server: Child<RelayServerCalls>): Promise<void> {
  const done = new AbortController();
  const late = delay(LIMIT_MS, undefined, { signal: done.signal }).then(
    () => Promise.reject(new MeshError("deadline_exceeded", `not all agents are back within ${LIMIT_MS} ms`)),
    () => undefined,
  );
  await Promise.race([server.call("settled", null), late]).finally(() => done.abort());
}
