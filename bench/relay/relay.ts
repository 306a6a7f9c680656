import { setTimeout as delay } from "node:timers/promises";
import type { Workplace } from "../bench.ts";
import type { BenchSettings } from "../config.ts";
import { figureOf, sampleOf, type Figure, type FigureHead } from "../figures.ts";
import { type FleetPlace, makeFleet } from "../fleet.ts";
import { check } from "./check.ts";
import { Side } from "./side.ts";
import type { ListenArgument, PushArgument, Round } from "./server-calls.ts";

/** So many messages before those that count: the compilers of both servers settle. */
const WARM_UP_MESSAGES = 12_000;
/** So many messages are measured of each kind of push. */
const MESSAGES = 10_000;
const WATCHED_ROUNDS = 3;

interface Costs {
  readonly connectCpuMs: number;
  readonly idleRssKiB: number;
  readonly pushedRssKiB: number;
  /** Median round, per agent. */
  readonly pushCpuUs: number;
  readonly pushWallMs: number;
  readonly loopDelayMs: number;
  /** One resource for each cluster, translated. */
  readonly translatedCpuUs: number;
  readonly translatedWallMs: number;
  readonly translatedLoopDelayMs: number;
  /** All of it for the one cluster that changed. */
  readonly oneCpuUs: number;
  readonly oneMessages: number;
}

interface Repetition {
  readonly ours: Costs;
  readonly bare: Costs;
}

/** The relay with fleets of each size, beside the least that grpc-js can do with the same bytes over the same TLS. */
export async function measureRelay(settings: BenchSettings, { progress, signal, file }: Workplace): Promise<Figure[]> {
  const { agents: sizes, repetitions } = settings;
  // One for each size: what a server reads of a larger one would be memory that its agents then use again.
  const fleets = new Map<number, FleetPlace>();
  for (const agents of sizes) {
    signal.throwIfAborted();
    progress(`relay: making identities of ${agents} agents`);
    const fleet = { stateDir: file(`state-${agents}`), fleetFile: file(`fleet-${agents}.json`) };
    await makeFleet(agents, fleet);
    fleets.set(agents, fleet);
  }
  const done = new Map<number, Repetition[]>(sizes.map((agents) => [agents, []]));
  for (let repetition = 1; repetition <= repetitions; repetition++) {
    for (const [agents, fleet] of fleets) {
      signal.throwIfAborted();
      progress(`relay: repetition ${repetition} of ${repetitions}, ${agents} agents`);
      done.get(agents)?.push(await repeat(settings, { ...fleet, agents }, repetition % 2 === 1));
    }
  }
  return [...[...done].flatMap(([agents, repeated]) => figuresOf(repeated, agents)), ...growth(done)];
}

async function repeat(settings: BenchSettings, argument: ListenArgument, oursFirst: boolean): Promise<Repetition> {
  await using ours = await Side.start("ours", settings.cpuProf);
  await using bare = await Side.start("bare", settings.cpuProf);
  for (const side of oursFirst ? [ours, bare] : [bare, ours]) await side.connect(argument);
  await delay(settings.restMs);
  const idle = { ours: await ours.rssKiB(), bare: await bare.rssKiB() };
  const { agents } = argument;
  const warmUp = Math.min(60, Math.ceil(WARM_UP_MESSAGES / agents));
  const rounds = settings.rounds ?? Math.max(5, Math.min(40, Math.ceil(MESSAGES / agents)));
  const sides = { ours, bare };
  await inTurn(sides, warmUp, { content: "same" });
  const same = await inTurn(sides, rounds, { content: "same" });
  const watched = await inTurn(sides, WATCHED_ROUNDS, { content: "same", watchLoop: true });
  await inTurn(sides, 1, { content: "translated" });
  const one = { before: await pushesOf(sides), rounds: await inTurn(sides, rounds, { content: "one" }) };
  const sent = await pushesOf(sides);
  await inTurn(sides, warmUp, { content: "translated" });
  const translated = await inTurn(sides, rounds, { content: "translated" });
  const watchedTranslated = await inTurn(sides, WATCHED_ROUNDS, { content: "translated", watchLoop: true });

  await delay(settings.restMs);
  const costs = async (name: "ours" | "bare"): Promise<Costs> => ({
    connectCpuMs: sides[name].connectCpuMs,
    idleRssKiB: idle[name],
    pushedRssKiB: await sides[name].rssKiB(),
    pushCpuUs: median(same[name], "cpuUs") / agents,
    pushWallMs: median(same[name], "wallMs"),
    loopDelayMs: median(watched[name], "loopDelayMs"),
    translatedCpuUs: median(translated[name], "cpuUs") / agents,
    translatedWallMs: median(translated[name], "wallMs"),
    translatedLoopDelayMs: median(watchedTranslated[name], "loopDelayMs"),
    oneCpuUs: median(one.rounds[name], "cpuUs"),
    oneMessages: (sent[name] - one.before[name]) / rounds,
  });
  const result = { ours: await costs("ours"), bare: await costs("bare") };
  const pushes = 2 * warmUp + 2 * rounds + 2 * WATCHED_ROUNDS + 2;
  for (const name of ["ours", "bare"] as const) {
    await check(name, sides[name], { sent: agents * pushes + rounds, counted: agents * pushes + rounds });
  }
  return result;
}

interface Sides {
  readonly ours: Side;
  readonly bare: Side;
}

type Turns = Readonly<Record<keyof Sides, readonly Round[]>>;

/** The same rounds on both. The bare server knows one content for all only: it stands beside every kind. */
async function inTurn({ ours, bare }: Sides, rounds: number, argument: PushArgument): Promise<Turns> {
  const turns = { ours: [] as Round[], bare: [] as Round[] };
  for (let round = 0; round < rounds; round++) {
    turns.ours.push(await ours.push(argument));
    turns.bare.push(await bare.push(argument));
  }
  return turns;
}

const median = (rounds: readonly Round[], what: keyof Round): number =>
  sampleOf(rounds.map((round) => round[what])).median;

const pushesOf = async ({ ours, bare }: Sides) => ({
  ours: await ours.load.call("pushes", null),
  bare: await bare.load.call("pushes", null),
});

const ratioOf = (atMost: number) => ({ of: "ratio", atMost }) as const;
/** The size from which on memory is that of the agents, and not what the process happens to have left over. */
const ENOUGH = 1_000;
/** The size from which on a loop that is not cut into slices is felt. */
const MANY = 5_000;

function figuresOf(done: readonly Repetition[], agents: number): Figure[] {
  const of = (cost: keyof Costs, head: FigureHead): Figure =>
    figureOf(
      { ...head, agents },
      done.map(({ ours }) => ours[cost]),
      done.map(({ bare }) => bare[cost]),
    );
  const memoryGoal = agents >= ENOUGH ? { goal: ratioOf(1.5) } : {};
  const delayGoal = agents >= MANY ? { goal: ratioOf(0.4) } : {};
  return [
    of("connectCpuMs", { name: "server CPU per connect and first push", unit: "ms", goal: ratioOf(1.3) }),
    of("idleRssKiB", { name: "server RSS per connected agent", unit: "KiB", ...memoryGoal }),
    of("pushedRssKiB", { name: "server RSS per agent after pushes", unit: "KiB", ...memoryGoal }),
    of("pushCpuUs", { name: "server CPU per push and result", unit: "us", goal: ratioOf(1.5) }),
    of("pushWallMs", { name: "change to the last result", unit: "ms", goal: ratioOf(1.6) }),
    of("loopDelayMs", { name: "longest loop delay in a push", unit: "ms", ...delayGoal }),
    of("translatedCpuUs", { name: "server CPU per push and result, translated", unit: "us", goal: ratioOf(2.2) }),
    of("translatedWallMs", { name: "change to the last result, translated", unit: "ms" }),
    of("translatedLoopDelayMs", { name: "longest loop delay in a push, translated", unit: "ms", ...delayGoal }),
    of("oneMessages", { name: "messages for one changed cluster", unit: "", goal: { of: "value", atMost: 1 } }),
    of("oneCpuUs", { name: "server CPU for one changed cluster", unit: "us" }),
  ];
}

/** What a message costs in the largest fleet, beside what it costs in one of a thousand. */
function growth(done: ReadonlyMap<number, readonly Repetition[]>): Figure[] {
  const few = done.get(1_000) ?? [];
  const most = Math.max(...done.keys());
  const many = done.get(most) ?? [];
  if (few.length === 0 || most <= 1_000) return [];
  return (["ours", "bare"] as const).map((name) =>
    figureOf(
      {
        name: `${name}: CPU per push and result, beside that of 1000 agents`,
        ...{ agents: most, unit: "us", ...(name === "ours" && { goal: ratioOf(1.2) }) },
      },
      many.map((repetition) => repetition[name].pushCpuUs),
      few.map((repetition) => repetition[name].pushCpuUs),
    ),
  );
}
