/** How intent differs between clusters: one content for all, or one for each. */
export type Content = "same" | "distinct";

/** One push to all agents, from the change to the last result. */
export interface Round {
  /** CPU of the server's process, microseconds. */
  readonly cpuUs: number;
  readonly wallMs: number;
}

export interface ListenArgument {
  readonly stateDir: string;
  readonly fleetFile: string;
  readonly agents: number;
}

/** What both relay servers, ours and the bare one, offer to the bench. */
export type RelayServerCalls = {
  /** Begins to serve and returns "host:port". Each agent that connects is pushed the first content. */
  readonly listen: (argument: ListenArgument) => Promise<string>;
  /** Resolves when all agents have answered the push that is under way. */
  readonly settled: (argument: null) => Promise<void>;
  /** Pushes new content to all agents and waits for their results. */
  readonly push: (content: Content) => Promise<Round>;
  /** Results that were counted since the start. */
  readonly results: (argument: null) => number;
};

/** Waits for one result of each of several agents, and counts. */
export class Tally {
  #missing = new Set<string>();
  #resolve: () => void = () => undefined;
  #all: Promise<void> = Promise.resolve();
  results = 0;

  /** From now on one result of each of `clusters` is awaited. */
  expect(clusters: Iterable<string>): void {
    this.#missing = new Set(clusters);
    this.#all = new Promise((resolve) => (this.#resolve = resolve));
  }

  /** Takes a result; a second one of the same cluster counts for nothing. */
  take(cluster: string): void {
    if (!this.#missing.delete(cluster)) return;
    this.results += 1;
    if (this.#missing.size === 0) this.#resolve();
  }

  /** Resolves when all have answered. */
  get all(): Promise<void> {
    return this.#all;
  }
}

/** Measures `push`, which is done when all have answered. */
export async function measureRound(tally: Tally, push: () => void): Promise<Round> {
  const before = process.cpuUsage();
  const startedMs = performance.now();
  push();
  await tally.all;
  const { user, system } = process.cpuUsage(before);
  return { cpuUs: user + system, wallMs: performance.now() - startedMs };
}
