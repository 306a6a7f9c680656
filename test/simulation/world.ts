import type { RelayStream } from "../../agent/relay/relay-channel.ts";
import { keyOf } from "../../common/session/resource-set.ts";
import { SimAgent } from "./agent.ts";
import { SimCall } from "./call.ts";
import { Clones } from "./clones.ts";
import type { Dice } from "./dice.ts";
import { Disk } from "./disk.ts";
import { Ledger } from "./ledger.ts";
import { SimProcess } from "./process.ts";
import { SimReplica } from "./replica.ts";
import type { Scenario } from "./scenario.ts";
import { localSessions, SharedSessions } from "./session-homes.ts";
import { Truth } from "./truth.ts";
import { VirtualTime } from "./virtual-time.ts";

const START_MS = Date.UTC(2026, 0, 1);

const DOUBLE_MS = 15_000;

/** A call and the session that it became. */
interface Line {
  readonly call: SimCall;
  readonly replica: SimReplica;
  readonly cluster: string;
  sessionId: string;
  /** Pushes that wait for their result. */
  pushes: number;
}

/** Servers, agents and the network between them, in a time of their own. */
export class World {
  readonly time = new VirtualTime(START_MS);
  readonly dice: Dice;
  readonly scenario: Scenario;
  readonly truth: Truth;
  readonly ledger: Ledger;
  readonly agents: readonly SimAgent[];
  readonly clones: Clones;
  /** The second agent with the identity of one of them, while there is one. */
  double: SimAgent | undefined;
  readonly replicas: readonly SimReplica[];
  readonly shared: SharedSessions | undefined;
  /** What happened, where somebody wants to read it. */
  readonly trace: string[] | undefined;
  #lines: Line[] = [];
  readonly #calls: SimCall[] = [];
  /** Share of connections that lead nowhere. */
  blackHoles = 0;
  #wasEmptied = false;
  readonly #begin = (): SimProcess => new SimProcess(this.time, this.dice);
  readonly #onFault = (what: string, error: unknown): void => this.ledger.fail(`${what}: ${String(error)}`);
  /** Since when a cluster has a session at more than one replica. */
  readonly #doubleSinceMs = new Map<string, number | undefined>();

  constructor(scenario: Scenario, dice: Dice, { isTraced }: { isTraced: boolean }) {
    this.scenario = scenario;
    this.dice = dice;
    this.trace = isTraced ? [] : undefined;
    const { clusters, lagMs, hellosPerSecond } = scenario;
    this.truth = new Truth(clusters);
    const mayMiss = (): boolean => scenario.replicas > 1 || this.#wasEmptied;
    this.ledger = new Ledger({ truth: this.truth, time: this.time, mayMiss });
    this.clones = new Clones((what) => this.ledger.fail(what));
    const onClone = (cluster: string): void => this.clones.sighted(cluster);
    const common = {
      ...{ dice, clusters, lagMs, hellosPerSecond, truth: this.truth },
      ...{ begin: this.#begin, onFault: this.#onFault },
    };
    this.shared = scenario.replicas > 1 ? new SharedSessions(clusters, dice, onClone) : undefined;
    const sessionHome = this.shared ?? localSessions(onClone);
    const onIntent = (replica: SimReplica, cluster: string): void => this.ledger.heard(replica, cluster);
    this.replicas = Array.from(
      { length: scenario.replicas },
      (_, index) => new SimReplica({ ...common, name: `server-${index}`, sessionHome, onIntent }),
    );
    this.agents = clusters.map((cluster) => {
      const disk = new Disk(dice.chance(0.5), scenario.diskMs, (before, after) =>
        this.ledger.stored(cluster, before, after),
      );
      return this.#agent(cluster, disk);
    });
  }

  /** Somebody starts a second agent with the identity of this one, and with its state or without. */
  clone({ cluster, disk }: SimAgent): SimAgent {
    this.clones.cloned(cluster);
    const { scenario, dice, ledger } = this;
    const empty = new Disk(disk.isObjects, scenario.diskMs, (before, after) => ledger.stored(cluster, before, after));
    return (this.double = this.#agent(cluster, dice.chance(0.5) ? disk.copy() : empty));
  }

  note(text: () => string): void {
    this.trace?.push(`${((this.time.nowMs - START_MS) / 1000).toFixed(3)} ${text()}`);
  }

  /** Calls that a server still serves. */
  get served(): readonly Line[] {
    return this.#lines.filter(({ call, replica }) => call.state === "served" && replica.process.isAlive);
  }

  /** The process of a server or agent dies, and its connections with it. */
  kill(it: SimAgent | SimReplica): void {
    const { process } = it;
    it.kill();
    if (it instanceof SimReplica && !this.shared) this.clones.forgotten();
    for (const { call } of this.#lines) if (call.isOf(process)) call.died(process);
    this.#lines = this.#lines.filter(({ call }) => call.state !== "over" && !call.isOf(process));
  }

  /** Lets go of all who wait, the dead too: what is composed of signals is kept by Node until one of them is aborted. */
  end(): void {
    for (const it of [...this.#everyAgent, ...this.replicas, ...this.#calls]) it.end();
  }

  /** A server comes back with nothing, as from an empty backup. */
  empty(replica: SimReplica): void {
    this.#wasEmptied = true;
    replica.isEmptied = true;
    this.kill(replica);
    replica.start();
  }

  /** Throws out what must hold at any moment. */
  checkBounds(): void {
    for (const { call, cluster } of this.#lines) {
      if (call.isFlooded) this.ledger.fail(`a stream of ${cluster} is written to although it has no room`);
    }
    for (const { cluster, process } of this.#everyAgent) {
      if (process.isAlive && process.sleepers > 4) this.ledger.fail(`agent of ${cluster}: ${process.sleepers} timers`);
    }
    for (const replica of this.replicas) this.#checkReplica(replica);
    for (const cluster of this.scenario.clusters) this.#checkSessions(cluster);
  }

  /** Where a newer session has begun at one replica, the older one at another ends as soon as that hears of it. */
  #checkSessions(cluster: string): void {
    const homes = this.replicas.filter(({ hub, process }) => process.isAlive && hub?.agents.isConnected(cluster));
    const sinceMs = homes.length > 1 ? (this.#doubleSinceMs.get(cluster) ?? this.time.nowMs) : Infinity;
    this.#doubleSinceMs.set(cluster, sinceMs === Infinity ? undefined : sinceMs);
    if (this.time.nowMs - sinceMs > DOUBLE_MS) this.ledger.fail(`${cluster} has two sessions for long`);
  }

  #checkReplica({ name, hub, intents, process }: SimReplica): void {
    if (!hub || !process.isAlive) return;
    // Those too whose agent has died: the server waits for their hello, or their place.
    const open = this.#calls.filter((call) => call.state === "served" && call.isOf(process)).length;
    if (process.sleepers > open + 4) this.ledger.fail(`${name}: ${process.sleepers} timers for ${open} calls`);
    for (const cluster of this.scenario.clusters) {
      const live = hub.agents.live(cluster);
      const { resources, removals } = intents.get(cluster);
      if (live && live.parked.size > resources.size) this.ledger.fail(`${name}: refusals of what ${cluster} has not`);
      if (live?.held && live.held.size > resources.size + removals.size + 5)
        this.ledger.fail(`${name}: ${cluster} holds`);
    }
  }

  get #everyAgent(): readonly SimAgent[] {
    return this.double ? [...this.agents, this.double] : this.agents;
  }

  #agent(cluster: string, disk: Disk): SimAgent {
    return new SimAgent({
      ...{ cluster, disk, dice: this.dice, begin: this.#begin, onFault: this.#onFault },
      dial: (agent, signal) => this.#dial(agent, signal),
    });
  }

  #dial(agent: SimAgent, signal: AbortSignal): RelayStream {
    const { time, dice, scenario, ledger } = this;
    const replica = dice.pick(this.replicas as [SimReplica, ...SimReplica[]]);
    const { process: server } = replica;
    const { cluster, process } = agent;
    const call = this.#makeCall(agent, replica, () => line);
    const line: Line = { cluster, replica, call, sessionId: "", pushes: 0 };
    this.#lines.push(line);
    this.#calls.push(call);
    if (dice.chance(this.blackHoles)) call.silence();
    time.after(dice.random() * scenario.latencyMs, () => {
      if (!process.isAlive) return;
      if (!server.isAlive || !replica.hub || replica.process !== server) return call.refuse();
      ledger.sessions += 1;
      call.serve((requests, send, until) => replica.connect(cluster, { requests, send, signal: until }));
    });
    return call.stream(signal);
  }

  #makeCall({ cluster, process, disk }: SimAgent, replica: SimReplica, line: () => Line): SimCall {
    const { time, dice, scenario, ledger } = this;
    return new SimCall({
      ...{ time, dice, latencyMs: scenario.latencyMs, agent: process, server: replica.process },
      watch: {
        down: ({ message }) => {
          this.note(() => `${replica.name} → ${cluster} ${describe(message)}`);
          if (message?.$case === "welcome") {
            line().sessionId = message.value.sessionId;
            this.clones.welcomed(cluster, message.value.epoch, process);
          }
          if (message?.$case !== "push") return;
          if ((line().pushes += 1) > 1) ledger.fail(`two pushes to ${cluster} await their result`);
          ledger.sent(replica, cluster, message.value);
        },
        said: ({ message }) => {
          if (message?.$case === "result") ledger.promised(cluster, disk.held, message.value);
        },
        up: ({ message }) => {
          this.note(() => `${replica.name} ← ${cluster} ${describe(message)}`);
          if (message?.$case !== "result") return;
          line().pushes -= 1;
          if (replica.hub?.agents.sessionOf(cluster)?.info.sessionId === line().sessionId) {
            ledger.answered(replica, cluster, message.value);
          }
        },
        end: (why) => this.note(() => `${replica.name} | ${cluster} ${why}`),
      },
    });
  }
}

type Message = Parameters<ConstructorParameters<typeof SimCall>[0]["watch"]["down" | "up"]>[0]["message"];

function describe(message: Message): string {
  if (message?.$case === "push") {
    const { id, base, upserts, removals } = message.value;
    const names = upserts.map(({ name }) => (name ? keyOf(name).split("\0")[1] : "")).join(",");
    return `push ${id} on ${base.toString("hex", 0, 3) || "nothing"} of ${names || "nothing"}, without ${removals.map(({ name }) => name).join(",") || "nothing"}`;
  }
  if (message?.$case === "result")
    return `result ${message.value.id}${message.value.wantWholeSet ? ", wants all" : ""}`;
  return message?.$case ?? "nothing";
}
