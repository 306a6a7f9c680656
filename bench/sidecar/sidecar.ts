import { mkdir, writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { MeshError } from "../../common/runtime/errors.ts";
import { bundle } from "../../scripts/build.ts";
import { NODE_FLAGS } from "../../scripts/programs.ts";
import type { Workplace } from "../bench.ts";
import { Child, type ChildOptions } from "../child.ts";
import type { BenchSettings } from "../config.ts";
import { figureOf, type Figure } from "../figures.ts";
import { makeFleet, readFleet } from "../fleet.ts";

const AGENT = new URL("../../dist/istiod-agent.js", import.meta.url);
const BARE = fileURLToPath(new URL("./bare.ts", import.meta.url));

/** Idle is what remains after the start: time for what is collected and compiled in the background. */
const IDLE_MS = 2_500;
const MIB = 1024 * 1024;

interface Start {
  readonly cpuMs: number;
  readonly rssMiB: number;
}

/** The bundled istiod-agent as a sidecar whose agent is away, beside a bare bundle of the same libraries. */
export async function measureSidecar(
  settings: BenchSettings,
  { progress, signal, file }: Workplace,
): Promise<Figure[]> {
  await bundle({ bare: BARE }, file("dist"));
  await mkdir(file("cacerts"));
  await mkdir(file("account"));
  // All that a link needs but the agent itself.
  const fleet = { stateDir: file("state"), fleetFile: file("fleet.json") };
  await makeFleet(0, fleet);
  await writeFile(file("agent-ca.pem"), (await readFleet(fleet.fleetFile)).rootsPem);
  await writeFile(file("account", "enterprise-agent-token"), "bench");
  const nodeFlags = NODE_FLAGS["istiod-agent"];
  const ours = { module: AGENT, args: sidecarArguments(file), nodeFlags };
  const bare = { module: file("dist", "bare.js"), nodeFlags };
  const starts: { ours: Start; bare: Start }[] = [];
  while (starts.length < settings.repetitions) {
    progress(`sidecar: start ${starts.length + 1} of ${settings.repetitions}`);
    starts.push({ ours: await measureStart(ours, signal), bare: await measureStart(bare, signal) });
  }
  const of = (cost: keyof Start, head: Pick<Figure, "name" | "unit" | "goal">): Figure =>
    figureOf(
      head,
      starts.map((start) => start.ours[cost]),
      starts.map((start) => start.bare[cost]),
    );
  return [
    of("cpuMs", { name: "istiod-agent, CPU to ready", unit: "ms", goal: { of: "ratio", atMost: 1.5 } }),
    of("rssMiB", { name: "istiod-agent, idle RSS", unit: "MiB", goal: { of: "value", atMost: 85 } }),
  ];
}

async function measureStart(options: ChildOptions, signal: AbortSignal): Promise<Start> {
  await using child = await Child.start(options);
  const address = await child.logged("serving metrics", "listen", signal);
  const response = await fetch(`http://${address}/readyz`, { signal });
  if (!response.ok) throw new MeshError("failed_precondition", `/readyz answered ${response.status}`);
  const { cpuUs } = await child.usage();
  await delay(IDLE_MS, undefined, { signal });
  const { rssBytes } = await child.usage();
  return { cpuMs: cpuUs / 1000, rssMiB: rssBytes / MIB };
}

/** Nothing listens at the agent's address: the sidecar goes on trying, as it does where the agent is away. */
function sidecarArguments(file: Workplace["file"]): string[] {
  return [
    "sidecar",
    ...["--agent-address", "127.0.0.1:1"],
    ...["--agent-ca-file", file("agent-ca.pem")],
    ...["--cacerts-dir", file("cacerts")],
    ...["--service-account-dir", file("account")],
    ...["--monitor-listen", "127.0.0.1:0"],
  ];
}
