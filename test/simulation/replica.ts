import { silentLog } from "../../common/runtime/log.ts";
import type { ConnectRequest } from "../../proto/gen/relay/v1/relay.ts";
import type { Send } from "../../common/session/handlers.ts";
import { Hub } from "../../server/relay/hub.ts";
import { IntentBook } from "../../server/relay/intent-book.ts";
import type { Outgoing } from "../../server/relay/session.ts";
import { StatusBook } from "../../server/relay/status-book.ts";
import type { Dice } from "./dice.ts";
import type { SimProcess } from "./process.ts";
import type { SessionHome } from "./session-homes.ts";
import { NO_INTENT, type ClusterIntent, type Truth } from "./truth.ts";

const FORCE_AFTER_MS = 1_000;

export interface SimReplicaOptions {
  readonly name: string;
  readonly clusters: readonly string[];
  readonly truth: Truth;
  readonly sessionHome: SessionHome;
  readonly dice: Dice;
  /** Most that intent takes from the truth to here. */
  readonly lagMs: number;
  readonly hellosPerSecond: number | undefined;
  readonly begin: () => SimProcess;
  readonly onFault: (what: string, error: unknown) => void;
  /** Told of each version that a cluster shall hold, as this replica hears of it. */
  readonly onIntent: (replica: SimReplica, cluster: string) => void;
}

/** A management server over all its lives: the product's hub and books, wired as the server wires them. */
export class SimReplica {
  readonly name: string;
  readonly #options: SimReplicaOptions;
  process: SimProcess;
  hub: Hub | undefined;
  intents = new IntentBook();
  statuses = new StatusBook();
  #heard = new Map<string, ClusterIntent>();
  /** Removals that were acknowledged here, until the truth knows. */
  #acknowledged = new Map<string, number>();
  #stop = new AbortController();
  readonly #lives: AbortController[] = [];
  /** It serves with nothing: its intent was lost, until somebody restores it. */
  isEmptied = false;
  /** Lives that were begun. */
  life = 0;

  constructor(options: SimReplicaOptions) {
    this.#options = options;
    this.name = options.name;
    this.process = options.begin();
    options.truth.onChange((cluster) => this.#follow(cluster));
    this.#live();
  }

  start(): void {
    if (this.process.isAlive) return;
    this.process = this.#options.begin();
    this.#live();
  }

  kill(): void {
    this.process.kill();
    this.hub = undefined;
  }

  /** Ends as it does at SIGTERM: it drains, and what is still open after a second is closed by force. */
  stop(onEnd: () => void): void {
    if (!this.process.isAlive || this.#stop.signal.aborted) return;
    this.#stop.abort(new Error("SIGTERM"));
    this.process.later(FORCE_AFTER_MS, onEnd);
  }

  /** The world ends: whoever still waits for anything, in any life, is let go. */
  end(): void {
    for (const life of this.#lives) life.abort();
  }

  /** Gets back what it had lost. */
  restore(): void {
    this.isEmptied = false;
    for (const cluster of this.#options.clusters) this.#follow(cluster);
  }

  connect(
    cluster: string,
    end: { requests: AsyncIterable<ConnectRequest>; send: Send<Outgoing>; signal: AbortSignal },
  ): Promise<void> {
    if (!this.hub) return Promise.reject(new Error("not listening"));
    const identity = { kind: "cluster", name: cluster } as const;
    const peer = { identity, serial: "1", fingerprint: "f", notAfterMs: 9e15 };
    return this.hub.connect(end.requests, end.send, {
      principal: { cluster, peer },
      ...{ peer: "agent", signal: end.signal },
    });
  }

  #live(): void {
    this.life += 1;
    const { process } = this;
    this.#stop = new AbortController();
    this.#lives.push(this.#stop);
    this.#run(process, this.#stop.signal).catch((error: unknown) => this.#options.onFault(this.name, error));
  }

  async #run(process: SimProcess, signal: AbortSignal): Promise<void> {
    const { sessionHome, clusters, truth, onFault, hellosPerSecond } = this.#options;
    const { sessions, run } = await sessionHome.open(process, this.name);
    const intents = (this.intents = new IntentBook());
    const statuses = (this.statuses = new StatusBook());
    this.#heard = new Map();
    this.#acknowledged = new Map();
    let isReady = false;
    const hub = (this.hub = new Hub({
      ...{ clock: process.clock, log: silentLog, intents, statuses, sessions },
      notReady: () => (isReady ? [] : ["the sources have not been read yet"]),
      isServed: () => true,
      ...(hellosPerSecond !== undefined && { hellosPerSecond }),
      onSessionChange: (cluster) => this.#forgetAcknowledged(cluster),
      defer: (work) => process.later(0, work),
    }));
    intents.onChange((cluster) => this.#options.onIntent(this, cluster));
    run(signal).catch((error: unknown) => onFault(`${this.name}: sessions`, error));
    hub.run(signal).catch((error: unknown) => onFault(`${this.name}: hub`, error));
    await process.io(() => undefined, 500);
    for (const cluster of clusters) this.#hear(cluster, this.isEmptied ? NO_INTENT : truth.get(cluster));
    isReady = true;
  }

  #follow(cluster: string): void {
    const { process } = this;
    const { dice, lagMs, truth } = this.#options;
    process.later(dice.random() * lagMs, () => {
      if (!this.isEmptied) this.#hear(cluster, truth.get(cluster));
    });
  }

  #hear(cluster: string, intent: ClusterIntent): void {
    this.#heard.set(cluster, intent);
    const removals = [...intent.removals].filter(
      ([key, since]) => this.#acknowledged.get(`${cluster} ${key}`) !== since,
    );
    this.intents.replace(cluster, intent.resources, new Set(removals.map(([key]) => key)));
  }

  /** Tells the truth which removals an agent has acknowledged here. */
  #forgetAcknowledged(cluster: string): void {
    const pending = this.intents.get(cluster).removals;
    const { truth, dice } = this.#options;
    const { process } = this;
    for (const [key, since] of this.#heard.get(cluster)?.removals ?? []) {
      const id = `${cluster} ${key}`;
      if (pending.has(key) || this.#acknowledged.get(id) === since) continue;
      this.#acknowledged.set(id, since);
      const tell = (): void => {
        process.io(() => truth.acknowledge(cluster, key, since)).catch(() => undefined);
      };
      process.later(dice.between(0, 500), tell);
    }
  }
}
