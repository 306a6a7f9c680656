import { mkdir } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { Workplace } from "../bench.ts";
import { NODE_FLAGS } from "../../scripts/programs.ts";
import { Child } from "../child.ts";
import type { BenchSettings } from "../config.ts";
import { figureOf, type Figure } from "../figures.ts";
import { makeFleet } from "../fleet.ts";
import type { LoadCalls } from "../relay/load.ts";
import { Side, startLoad } from "../relay/side.ts";
import { writeClusters, writeVirtualMesh } from "./sources.ts";

const SERVER = new URL("../../dist/enterprise-networking.js", import.meta.url);

/** Changes per repetition: each meets the server's polling at another moment. */
const CHANGES = 4;
const FIRST_TTL_DAYS = 30;
/** After this time the server has folded and stored the status of a change. */
const SETTLE_MS = 700;
const POLL_MS = 500;

interface Change {
  readonly wallMs: number;
  /** Server CPU per agent, from the change to the stored status. */
  readonly cpuUs: number;
  /** Push to last result of a bare server with as many agents. */
  readonly bareWallMs: number;
  readonly bareCpuUs: number;
}

/** The bundled server as users run it: a changed file, and how long until all agents have answered. */
export async function measureEndToEnd(
  settings: BenchSettings,
  { progress, signal, file }: Workplace,
): Promise<Figure[]> {
  const agents = settings.fileAgents;
  const sources = file("sources");
  const argument = { stateDir: file("state"), fleetFile: file("fleet.json"), agents };
  progress(`end to end: server and ${agents} agents`);
  await mkdir(sources);
  await makeFleet(agents, argument);
  await writeClusters(sources, agents);
  await writeVirtualMesh(sources, agents, FIRST_TTL_DAYS);

  await using server = await Child.start({
    module: SERVER,
    args: serverArguments(argument.stateDir, sources),
    nodeFlags: NODE_FLAGS["enterprise-networking"],
  });
  await using load = await startLoad();
  await using bare = await Side.start("bare");
  const address = await server.logged("serving relay", "listen", signal);
  // The address is logged before the sources are read, and until then the server serves no sessions.
  await server.logged("virtual mesh judged", "state", signal);
  await load.call("connect", { address, fleetFile: argument.fleetFile, agents });
  await bare.connect(argument);

  const changes: Change[] = [];
  for (let number = 0; number < settings.repetitions * CHANGES; number++) {
    signal.throwIfAborted();
    // So that the moments of the changes are spread evenly over the polling interval.
    await delay(SETTLE_MS + (number % CHANGES) * (POLL_MS / CHANGES), undefined, { signal });
    const change = { sources, ttlDays: FIRST_TTL_DAYS + 1 + number, agents, total: agents * (number + 2) };
    changes.push({ ...(await measureChange(server, load, change)), ...(await measureBare(bare, agents)) });
  }
  return [
    figureOf(
      { name: "file change to the last result", agents, unit: "ms" },
      changes.map(({ wallMs }) => wallMs),
      changes.map(({ bareWallMs }) => bareWallMs),
    ),
    figureOf(
      { name: "server CPU per agent, file change to stored status", agents, unit: "us" },
      changes.map(({ cpuUs }) => cpuUs),
      changes.map(({ bareCpuUs }) => bareCpuUs),
    ),
  ];
}

async function measureChange(
  server: Child,
  load: Child<LoadCalls>,
  { sources, ttlDays, agents, total }: { sources: string; ttlDays: number; agents: number; total: number },
): Promise<Pick<Change, "wallMs" | "cpuUs">> {
  const before = await server.usage();
  const startedMs = performance.now();
  await writeVirtualMesh(sources, agents, ttlDays);
  await load.call("answered", total);
  const wallMs = performance.now() - startedMs;
  await delay(SETTLE_MS);
  const after = await server.usage();
  return { wallMs, cpuUs: (after.cpuUs - before.cpuUs) / agents };
}

async function measureBare(bare: Side, agents: number): Promise<Pick<Change, "bareWallMs" | "bareCpuUs">> {
  const { wallMs, cpuUs } = await bare.push({ content: "same" });
  return { bareWallMs: wallMs, bareCpuUs: cpuUs / agents };
}

function serverArguments(stateDir: string, sources: string): string[] {
  const listeners = ["relay", "enrollment", "admin", "monitor"].flatMap((name) => [`--${name}-listen`, "127.0.0.1:0"]);
  return ["--source-dir", sources, "--state-dir", stateDir, ...listeners];
}
