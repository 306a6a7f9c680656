import { KEPT, kindOf, NAMES, type Kind } from "./catalog.ts";
import { Dice } from "./dice.ts";
import type { SimAgent } from "./agent.ts";
import { comeBack, stampede } from "./herd.ts";
import { drawScenario, isHerd, type Action } from "./scenario.ts";
import type { SimReplica } from "./replica.ts";
import { World } from "./world.ts";

/** All must agree so long after everything works again; a session that only seems to live takes a minute of it. */
const PATIENCE_MS = 6 * 60_000;
/** The same where a cluster refused something for now: its timer has to come. */
const PATIENCE_WITH_RETRIES_MS = 80 * 60_000;
/** Whoever was left half-open has noticed by then, and is back. */
const SETTLE_MS = 100_000;
const QUIET_MS = 30_000;
/** A change is followed by another within this time, or by none. */
const SECOND_THOUGHTS_MS = 1_000;
/** A request that is under way may take its time, each way. */
const STOP_WITHIN_MS = 120_000;

/** What one schedule came to. */
export interface Outcome {
  readonly sessions: number;
  readonly pushes: number;
  readonly removals: number;
  readonly refusals: number;
  /** How often a server said that two agents take turns. */
  readonly sightings: number;
  readonly events: number;
  /** Time from the end of all faults until everybody agreed. */
  readonly healedMs: number;
  /** What happened, where it was asked for. */
  readonly trace: readonly string[];
}

/** A schedule that ended as it must not. */
export class Violation extends Error {
  readonly seed: number;
  /** What happened until then. */
  readonly trace: readonly string[];

  constructor(seed: number, what: string, trace: readonly string[]) {
    super(`seed ${seed}: ${what}; replay it: npx node test/simulation/main.ts ${seed}`);
    this.seed = seed;
    this.trace = trace;
  }
}

/** Runs what this seed makes of the world to its end. Throws a Violation; its trace is there where it is asked for. */
export async function runSchedule(seed: number, { isTraced = false } = {}): Promise<Outcome> {
  const dice = new Dice(seed);
  const schedule = new Schedule(new World(drawScenario(dice, new Dice(~seed)), dice, { isTraced }));
  const { stackTraceLimit } = Error;
  // Sessions end by the thousand, each with errors that nobody reads.
  Error.stackTraceLimit = 0;
  try {
    return await schedule.run();
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw new Violation(seed, what.replaceAll("\0", "/"), [...(schedule.world.trace ?? [])]);
  } finally {
    schedule.world.end();
    Error.stackTraceLimit = stackTraceLimit;
  }
}

class Schedule {
  readonly world: World;
  #events = 0;

  constructor(world: World) {
    this.world = world;
  }

  async run(): Promise<Outcome> {
    const { world } = this;
    const { dice, scenario, time } = world;
    for (let left = scenario.actions; left > 0; left -= 1) {
      await this.#pass(dice.random() * 2 * scenario.paceMs);
      this.#act(scenario.next());
      if (left === scenario.cloneAt) this.#clone();
    }
    while (world.double?.process.isAlive) await this.#pass(1_000);
    const pass = (ms: number): Promise<void> => this.#pass(ms);
    if (isHerd(scenario)) await stampede(world, pass);
    this.#heal();
    const healedAtMs = time.nowMs;
    if (isHerd(scenario)) await comeBack(world, SETTLE_MS, pass);
    await this.#pass(SECOND_THOUGHTS_MS + scenario.lagMs);
    while (this.#disagreement() !== undefined) {
      const patienceMs = this.#anyLater() ? PATIENCE_WITH_RETRIES_MS : PATIENCE_MS;
      if (time.nowMs - healedAtMs > patienceMs) throw new Error(`after all faults ended: ${this.#disagreement()}`);
      await this.#pass(1_000);
    }
    const healedMs = time.nowMs - healedAtMs;
    await this.#pass(Math.max(0, SETTLE_MS - healedMs));
    await this.#beQuiet();
    world.clones.check();
    const { pushes, sessions, removals, refusals } = world.ledger;
    const { sightings } = world.clones;
    const counts = { pushes, sessions, removals, refusals, sightings, events: this.#events };
    return { ...counts, healedMs, trace: [...(world.trace ?? [])] };
  }

  async #pass(ms: number): Promise<void> {
    const { time, ledger } = this.world;
    const untilMs = time.nowMs + ms;
    time.after(ms, () => undefined);
    while (time.nowMs < untilMs) {
      await time.step();
      if (++this.#events % 16 === 0) this.world.checkBounds();
      if (ledger.violation !== undefined) throw new Error(ledger.violation);
    }
  }

  /** A second agent with one identity comes, and takes turns with the first until somebody ends it. */
  #clone(): void {
    const { world } = this;
    const { dice } = world;
    const agent = dice.pick(world.agents as [SimAgent, ...SimAgent[]]);
    const double = world.clone(agent);
    world.note(() => `* clone of ${agent.cluster}`);
    world.time.after(dice.pick([3_000, 20_000, 90_000]), () => {
      world.note(() => `* the clone of ${agent.cluster} is gone`);
      world.kill(double);
    });
  }

  /** Nothing moves any more where nothing changes. */
  async #beQuiet(): Promise<void> {
    const { ledger } = this.world;
    const before = { pushes: ledger.pushes, sessions: ledger.sessions };
    await this.#pass(QUIET_MS);
    const { pushes, sessions } = ledger;
    if (pushes > before.pushes) throw new Error(`${pushes - before.pushes} pushes without a change`);
    if (sessions > before.sessions) throw new Error(`${sessions - before.sessions} sessions without a fault`);
    const disagreement = this.#disagreement();
    if (disagreement !== undefined) throw new Error(`without a fault: ${disagreement}`);
  }

  #act(action: Action): void {
    const { world } = this;
    const { dice } = world;
    const agent = dice.pick(world.agents as [SimAgent, ...SimAgent[]]);
    const replica = dice.pick(world.replicas as [SimReplica, ...SimReplica[]]);
    world.note(() => `* ${action} (${agent.cluster}, ${replica.name})`);
    if (action === "edit" || action === "remove" || action === "put back") this.#change(action, agent);
    else if (action.endsWith("server") || action.endsWith("API server")) this.#harmServer(action, replica);
    else this.#harmAgent(action, agent);
  }

  #change(action: "edit" | "remove" | "put back", { cluster, disk }: SimAgent): void {
    const { dice, truth, time } = this.world;
    const name = dice.pick(NAMES);
    if (action === "remove") return truth.remove(cluster, name);
    if (action === "put back") return truth.putBack(cluster, dice);
    const refused: readonly Kind[] = disk.isObjects ? ["invalid", "never", "later"] : ["invalid"];
    const kind = dice.chance(0.7) ? "good" : (refused[dice.between(0, refused.length - 1)] ?? "good");
    truth.put(cluster, dice.chance(0.2) && kind === "good" ? KEPT : name, kind);
    // Second thoughts come soon, while the first are under way.
    if (dice.chance(0.3)) time.after(dice.random() * SECOND_THOUGHTS_MS, () => truth.put(cluster, name, "good"));
    if (dice.chance(0.3)) time.after(dice.random() * SECOND_THOUGHTS_MS, () => truth.putBack(cluster, dice));
  }

  #harmServer(action: Action, replica: SimReplica): void {
    const { world } = this;
    const { dice, time } = world;
    const backMs = dice.pick([0, 100, 3_000, 15_000]);
    const die = (): void => {
      if (replica.process.isAlive) world.kill(replica);
      time.after(backMs, () => replica.start());
    };
    if (action === "kill server") die();
    if (action === "stop server") replica.stop(die);
    if (action === "failing API server" && world.shared) {
      const { shared } = world;
      shared.failures = 0.5;
      time.after(backMs, () => (shared.failures = 0));
    }
    if (action === "empty server" && world.replicas.length === 1) {
      world.empty(replica);
      time.after(dice.between(500, 30_000), () => replica.restore());
    }
  }

  #harmAgent(action: Action, agent: SimAgent): void {
    const { world } = this;
    const { dice, time } = world;
    const ms = dice.pick([100, 3_000, 15_000, 90_000]);
    const lines = world.served.filter(({ cluster }) => cluster === agent.cluster);
    if (action === "report") agent.report();
    if (action === "release") agent.release();
    for (const { call } of lines) {
      if (action === "cut") call.cut();
      if (action === "go silent") call.silence();
      if (action === "stall") call.stall(ms);
    }
    if (action === "stop agent") agent.stop();
    if (action === "kill agent" && agent.process.isAlive) world.kill(agent);
    if (action === "stop agent" || action === "kill agent") this.#restart(agent, dice.pick([0, 100, 3_000, 15_000]));
    if (action === "black hole") {
      world.blackHoles = 0.5;
      time.after(ms, () => (world.blackHoles = 0));
    }
    if (action === "slow disk") {
      agent.disk.latencyMs = dice.pick([500, 5_000, 30_000]);
      time.after(ms, () => (agent.disk.latencyMs = world.scenario.diskMs));
    }
    if (action === "failing disk") {
      agent.disk.failures = 0.5;
      time.after(ms, () => (agent.disk.failures = 0));
    }
  }

  /** One that was asked to stop gets its time for it. */
  #restart(agent: SimAgent, backMs: number): void {
    const { world } = this;
    const { process } = agent;
    world.time.after(backMs, () => {
      if (agent.process !== process) return;
      const sinceMs = agent.stoppingSinceMs;
      if (sinceMs === undefined) return agent.start();
      if (process.clock.now() - sinceMs > STOP_WITHIN_MS) {
        world.ledger.fail(`the agent of ${agent.cluster} does not stop`);
      }
      this.#restart(agent, 1_000);
    });
  }

  /** Everything works again. What is half-open stays so: nobody tells. */
  #heal(): void {
    const { world } = this;
    world.note(() => "* all faults end");
    world.blackHoles = 0;
    if (world.shared) world.shared.failures = 0;
    for (const { disk } of world.agents) {
      disk.latencyMs = world.scenario.diskMs;
      disk.failures = 0;
      disk.refusesLater = false;
    }
    for (const replica of world.replicas) if (replica.isEmptied) replica.restore();
  }

  #anyLater(): boolean {
    return this.world.scenario.clusters.some((cluster) =>
      [...this.world.truth.get(cluster).resources.values()].some(({ version }) => kindOf(version) === "later"),
    );
  }

  /** Why not all is as it shall be; undefined when it is. */
  #disagreement(): string | undefined {
    const { world } = this;
    for (const agent of world.agents) {
      const reason = this.#disagreementOf(agent);
      if (reason !== undefined) return `${agent.cluster}: ${reason}`;
    }
    const { served } = world;
    if (served.length === world.agents.length) return undefined;
    const calls = served.map(({ cluster, replica, sessionId }) => `${cluster} ${replica.name} ${sessionId || "-"}`);
    return `${served.length} calls are served for ${world.agents.length} agents: ${calls.join("; ")}`;
  }

  #disagreementOf({ cluster, disk, process, statuses }: SimAgent): string | undefined {
    const { world } = this;
    if (!process.isAlive) return "the agent is away";
    const { managed } = disk.held;
    const { resources, removals } = world.truth.get(cluster);
    for (const [key, { version }] of resources) {
      const isTaken = ["good", "later"].includes(kindOf(version));
      if ((managed.get(key)?.version === version) !== isTaken) return `${key} is not as it shall be`;
    }
    for (const key of managed.keys()) {
      // A clone that does without it has acknowledged the removal for both: the agent keeps it until it is sent a whole set.
      const isAnswered = world.clones.hasHadClone(cluster) && world.truth.wasRemoved(cluster, key);
      if (!resources.has(key) && !isAnswered) return `${key} is held and not wanted`;
    }
    if (removals.size > 0) return `${removals.size} removals wait for their acknowledgement`;
    const homes = world.replicas.filter(({ hub }) => hub?.agents.isConnected(cluster));
    const [home] = homes;
    if (!home || homes.length > 1) return `${homes.length} sessions`;
    return this.#disagreementAt(home, cluster, statuses);
  }

  #disagreementAt({ hub, statuses }: SimReplica, cluster: string, told: SimAgent["statuses"]): string | undefined {
    const { resources } = this.world.truth.get(cluster);
    for (const [key, { version }] of resources) {
      const isRefused = ["invalid", "never"].includes(kindOf(version));
      if ((hub?.agents.rejection(cluster, key) !== undefined) !== isRefused)
        return `${key}: the server does not know its fate`;
      if (!isRefused && hub?.agents.acknowledged(cluster, key) !== version) return `${key} is not acknowledged`;
    }
    const text = (all: SimAgent["statuses"]): string =>
      all
        .map(({ name, error }) => `${name?.name}=${error?.message}`)
        .sort()
        .join();
    if (text(statuses.get(cluster)) !== text(told)) return "the server has an old status";
    return undefined;
  }
}
