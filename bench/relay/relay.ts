import { MeshError } from "../../common/runtime/errors.ts";
import type { Workplace } from "../bench.ts";
import type { BenchSettings } from "../config.ts";
import { figureOf, sampleOf, type Figure } from "../figures.ts";
import { makeFleet } from "../fleet.ts";
import { Side } from "./side.ts";
import type { Content, ListenArgument, Round } from "./server-calls.ts";

/** Rounds before those that count: the compilers of both servers settle. */
const WARM_UP = 12;

interface Costs {
  readonly connectCpuMs: number;
  readonly idleRssKiB: number;
  readonly pushedRssKiB: number;
  /** Median round, per agent. */
  readonly pushCpuUs: number;
  /** The same with another content for each cluster. */
  readonly distinctCpuUs: number;
  readonly pushWallMs: number;
}

interface Repetition {
  readonly ours: Costs;
  readonly bare: Costs;
}

/** The relay with many agents, beside the least that grpc-js can do with the same bytes over the same TLS. */
export async function measureRelay(settings: BenchSettings, { progress, signal, file }: Workplace): Promise<Figure[]> {
  const { agents, repetitions } = settings;
  progress(`relay: making identities of ${agents} agents`);
  const argument = { stateDir: file("state"), fleetFile: file("fleet.json"), agents };
  await makeFleet(agents, argument);
  const done: Repetition[] = [];
  while (done.length < repetitions) {
    signal.throwIfAborted();
    progress(`relay: repetition ${done.length + 1} of ${repetitions}`);
    done.push(await repeat(settings, argument, done.length % 2 === 0));
  }
  return figuresOf(done, agents);
}

async function repeat(settings: BenchSettings, argument: ListenArgument, oursFirst: boolean): Promise<Repetition> {
  await using ours = await Side.start("ours", settings.cpuProf);
  await using bare = await Side.start("bare", settings.cpuProf);
  const order = oursFirst ? [ours, bare] : [bare, ours];
  const connected = new Map<Side, Awaited<ReturnType<Side["connect"]>>>();
  for (const side of order) connected.set(side, await side.connect(argument));

  const same = await pushInTurn("same", { ours, bare, rounds: settings.rounds });
  const distinct = await pushInTurn("distinct", { ours, bare, rounds: settings.rounds });
  const results = argument.agents * (1 + 2 * (WARM_UP + settings.rounds));
  await checkResults("ours", ours, results);
  await checkResults("bare", bare, results);

  const costs = async (side: Side, counted: readonly Round[], countedDistinct: readonly Round[]): Promise<Costs> => ({
    connectCpuMs: connected.get(side)?.cpuMs ?? Number.NaN,
    idleRssKiB: connected.get(side)?.rssKiB ?? Number.NaN,
    pushedRssKiB: await side.rssKiB(),
    pushCpuUs: cpuPerAgent(counted, argument.agents),
    distinctCpuUs: cpuPerAgent(countedDistinct, argument.agents),
    pushWallMs: sampleOf(counted.map(({ wallMs }) => wallMs)).median,
  });
  return { ours: await costs(ours, same.ours, distinct.ours), bare: await costs(bare, same.bare, distinct.bare) };
}

interface Turns {
  readonly ours: readonly Round[];
  readonly bare: readonly Round[];
}

/** The rounds that count. The bare server knows one content only: it stands beside both kinds. */
async function pushInTurn(
  content: Content,
  { ours, bare, rounds }: { ours: Side; bare: Side; rounds: number },
): Promise<Turns> {
  const turns = { ours: [] as Round[], bare: [] as Round[] };
  for (let round = 0; round < WARM_UP + rounds; round++) {
    turns.ours.push(await ours.server.call("push", content));
    turns.bare.push(await bare.server.call("push", content));
  }
  return { ours: turns.ours.slice(WARM_UP), bare: turns.bare.slice(WARM_UP) };
}

const cpuPerAgent = (rounds: readonly Round[], agents: number): number =>
  sampleOf(rounds.map(({ cpuUs }) => cpuUs)).median / agents;

/** A fast server that loses results would be no limit to be held against. */
async function checkResults(name: string, { server, load }: Side, expected: number): Promise<void> {
  const [counted, sent] = await Promise.all([server.call("results", null), load.call("results", null)]);
  if (counted === expected && sent === expected) return;
  throw new MeshError("internal", `${name}: ${sent} results sent, ${counted} counted, want ${expected}`);
}

const AT_MOST = (ratio: number) => ({ of: "ratio", atMost: ratio }) as const;

function figuresOf(done: readonly Repetition[], agents: number): Figure[] {
  const of = (cost: keyof Costs, head: Pick<Figure, "name" | "unit" | "goal">): Figure =>
    figureOf(
      head,
      done.map(({ ours }) => ours[cost]),
      done.map(({ bare }) => bare[cost]),
    );
  return [
    of("pushCpuUs", { name: "server CPU per push and result", unit: "us", goal: AT_MOST(1.5) }),
    of("distinctCpuUs", { name: "server CPU per push and result, distinct content", unit: "us", goal: AT_MOST(2.2) }),
    of("idleRssKiB", { name: "server RSS per connected agent", unit: "KiB", goal: AT_MOST(1.5) }),
    of("pushedRssKiB", { name: "server RSS per agent after pushes", unit: "KiB", goal: AT_MOST(1.5) }),
    of("connectCpuMs", { name: "server CPU per connect and first push", unit: "ms", goal: AT_MOST(1.3) }),
    of("pushWallMs", { name: `push to the last of ${agents} results`, unit: "ms" }),
  ];
}
