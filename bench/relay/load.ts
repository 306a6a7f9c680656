import type { MeshError } from "../../common/runtime/errors.ts";
import type { KeyAndChain } from "../../common/session/tls.ts";
import { serveCalls } from "../child.ts";
import { readFleet } from "../fleet.ts";
import { LightAgent, type Unanswered } from "./light-agent.ts";
import { nameVersions } from "./server-calls.ts";

export interface ConnectArgument {
  readonly address: string;
  readonly fleetFile: string;
  readonly agents: number;
}

/** The load side: agents that apply whatever they are sent. It does not know which server it has. */
export type LoadCalls = {
  /** Connects all agents, some at a time; resolves when each has answered its first push. */
  readonly connect: (argument: ConnectArgument) => Promise<void>;
  /** Resolves when `total` results were sent since the start. */
  readonly answered: (total: number) => Promise<void>;
  /** Rejects when a session ends that nobody asked to end; it never resolves. */
  readonly lost: (argument: null) => Promise<void>;
  readonly results: (argument: null) => number;
  /** Pushes that arrived since the start. */
  readonly pushes: (argument: null) => number;
  /** Names what all agents hold, in the order of their numbers: SHA-256 of the versions. */
  readonly held: (argument: null) => string;
  /** The first `count` agents stop reading. */
  readonly stall: (count: number) => void;
  /** Makes room for whatever the server still has for these agents, without reading it. */
  readonly openWindows: (count: number) => void;
  /** What came for each of these agents since then. */
  readonly unanswered: (count: number) => readonly Unanswered[];
  /** They read again. */
  readonly resume: (count: number) => void;
};

const CONCURRENCY = 32;
const HEARTBEAT_MS = 20_000;

class Load {
  readonly #agents: LightAgent[] = [];
  readonly #waiting = new Set<{ total: number; settle: (error?: MeshError) => void }>();
  #results = 0;
  #lost: MeshError | undefined;

  async connect({ address, fleetFile, agents }: ConnectArgument): Promise<void> {
    const { agents: identities, rootsPem } = await readFleet(fleetFile);
    // From the first agent on: a fleet may take longer to connect than a server listens to silence.
    setInterval(() => this.#agents.forEach((agent) => agent.heartbeat()), HEARTBEAT_MS);
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < agents) {
        const number = next++;
        this.#agents[number] = await this.#open({ address, rootsPem, identity: identities[number] as KeyAndChain });
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    await this.answered(agents);
  }

  answered(total: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: MeshError): void => (error === undefined ? resolve() : reject(error));
      if (this.#lost) settle(this.#lost);
      else if (this.#results >= total) settle();
      else this.#waiting.add({ total, settle });
    });
  }

  calls(): LoadCalls {
    const some = (count: number): readonly LightAgent[] => this.#agents.slice(0, count);
    return {
      connect: (argument) => this.connect(argument),
      answered: (total) => this.answered(total),
      lost: () => this.answered(Infinity),
      results: () => this.#results,
      pushes: () => this.#agents.reduce((sum, { pushes }) => sum + pushes, 0),
      held: () => nameVersions(this.#agents.map(({ heldVersion }) => heldVersion)),
      stall: (count) => some(count).forEach((agent) => agent.stall()),
      openWindows: (count) => some(count).forEach((agent) => agent.openWindow()),
      unanswered: (count) => some(count).map(({ unanswered }) => unanswered),
      resume: (count) => some(count).forEach((agent) => agent.resume()),
    };
  }

  #open(options: { address: string; rootsPem: string; identity: KeyAndChain }): Promise<LightAgent> {
    return LightAgent.open({ ...options, onResult: () => this.#count(), onLost: (error) => this.#fail(error) });
  }

  #count(): void {
    this.#results += 1;
    for (const waiting of this.#waiting) {
      if (this.#results < waiting.total) continue;
      this.#waiting.delete(waiting);
      waiting.settle();
    }
  }

  #fail(error: MeshError): void {
    this.#lost = error;
    for (const { settle } of this.#waiting) settle(error);
    this.#waiting.clear();
  }
}

serveCalls(new Load().calls());
