import type { Workplace } from "../bench.ts";
import type { BenchSettings, SlowSettings } from "../config.ts";
import { figureOf, type Figure, type FigureHead } from "../figures.ts";
import { makeFleet } from "../fleet.ts";
import type { Unanswered } from "./light-agent.ts";
import { check } from "./check.ts";
import type { ListenArgument } from "./server-calls.ts";
import { Side } from "./side.ts";

/** What a server had in store for agents that do not read, each of them. */
interface Owed {
  readonly messages: number;
  readonly bytes: number;
  /** By how much what the server holds grew between the two looks at it, beyond the same with nobody who is slow. */
  readonly growthBytes: number;
}

/** Agents that read nothing while the others get push after push. */
export async function measureSlow(settings: BenchSettings, { progress, signal, file }: Workplace): Promise<Figure[]> {
  const { agents } = settings.slow;
  const argument = { stateDir: file("state"), fleetFile: file("fleet.json"), agents };
  await makeFleet(agents, argument);
  const done: { ours: Owed; bare: Owed }[] = [];
  while (done.length < settings.repetitions) {
    signal.throwIfAborted();
    progress(
      `slow: repetition ${done.length + 1} of ${settings.repetitions}, ${settings.slow.slow} of ${agents} agents`,
    );
    const ours = await measureOwed("ours", settings, argument);
    done.push({ ours, bare: await measureOwed("bare", settings, argument) });
  }
  const of = (what: keyof Owed, divisor: number, head: FigureHead): Figure =>
    figureOf(
      { ...head, agents },
      done.map(({ ours }) => ours[what] / divisor),
      done.map(({ bare }) => bare[what] / divisor),
    );
  const atMost = (value: number) => ({ of: "value", atMost: value }) as const;
  return [
    of("messages", 1, { name: "messages for a slow agent", unit: "", goal: atMost(2) }),
    of("bytes", 1024, { name: "bytes for a slow agent", unit: "KiB", goal: atMost(64) }),
    of("growthBytes", 1024, { name: "server memory growth per slow agent", unit: "KiB", goal: atMost(16) }),
  ];
}

async function measureOwed(which: "ours" | "bare", settings: BenchSettings, argument: ListenArgument): Promise<Owed> {
  await using side = await Side.start(which, settings.cpuProf);
  await side.connect(argument);
  const { agents, slow, pushes } = settings.slow;
  // What is kept of pushes, up to a bound, grows whoever is slow.
  const calmBytes = await growthOver(pushes, side, agents);
  const { owed, rounds } = await stallAndPush(side, settings.slow);
  await side.load.call("resume", slow);
  // Ours sends what is newest once the one push was answered, the bare one had everything in store.
  const late = which === "ours" ? 2 : rounds;
  const sent = agents + agents * pushes[1] + (agents - slow) * rounds + slow * late;
  await side.load.call("answered", sent);
  await side.push({ content: "same" });
  await check(which, side, { sent: sent + agents });
  return { ...owed, growthBytes: (owed.growthBytes - calmBytes) / slow };
}

/** By how much what the server holds grows between two of the pushes to all, of which so many answer. */
async function growthOver(pushes: SlowSettings["pushes"], side: Side, answers: number): Promise<number> {
  const held: number[] = [];
  for (let round = 1; round <= pushes[1]; round++) {
    await side.push({ content: "same", answers });
    if (pushes.includes(round)) held.push((await side.server.usage({ gc: true })).heldBytes);
  }
  const [early = 0, late = 0] = held;
  return late - early;
}

/** What is in store for the slow ones after the pushes, and how many there were. */
async function stallAndPush(
  side: Side,
  { agents, slow, pushes }: SlowSettings,
): Promise<{ owed: Owed; rounds: number }> {
  const { load } = side;
  const answers = agents - slow;
  await load.call("stall", slow);
  const growthBytes = await growthOver(pushes, side, answers);
  await load.call("openWindows", slow);
  let rounds = pushes[1];
  let unread = await load.call("unanswered", slow);
  // Each round itself brings one more, at most; with more than that there was something in store.
  for (let before = -Infinity; sumOf(unread) > before + slow; rounds++) {
    before = sumOf(unread);
    await side.push({ content: "same", answers });
    unread = await load.call("unanswered", slow);
  }
  const owed = {
    messages: Math.max(...unread.map(({ messages }) => messages)),
    bytes: Math.max(...unread.map(({ bytes }) => bytes)),
    growthBytes,
  };
  return { owed, rounds };
}

const sumOf = (unread: readonly Unanswered[]): number => unread.reduce((sum, { messages }) => sum + messages, 0);
