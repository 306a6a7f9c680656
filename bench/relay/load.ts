import { createHash } from "node:crypto";
import { MeshError } from "../../common/runtime/errors.ts";
import { Dialer, type ClientStream } from "../../common/session/client.ts";
import { ISSUED_CERTIFICATE } from "../../common/session/resource-set.ts";
import type { KeyAndChain } from "../../common/session/tls.ts";
import {
  RelayServiceService,
  ResourceOutcome,
  type ConnectRequest,
  type ConnectResponse,
  type Push,
  type Result,
} from "../../proto/gen/relay/v1/relay.ts";
import { serveCalls } from "../child.ts";
import { readFleet } from "../fleet.ts";

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
  readonly results: (argument: null) => number;
};

const CONCURRENCY = 32;
const HEARTBEAT_MS = 20_000;

type Stream = ClientStream<ConnectRequest, ConnectResponse>;

class Load {
  readonly #streams: Stream[] = [];
  readonly #waiting = new Set<{ total: number; settle: (error?: unknown) => void }>();
  #results = 0;

  async connect({ address, fleetFile, agents }: ConnectArgument): Promise<void> {
    const fleet = await readFleet(fleetFile);
    const left = fleet.agents.slice(0, agents);
    const worker = async (): Promise<void> => {
      for (let identity = left.pop(); identity; identity = left.pop()) {
        await this.#open(address, identity, fleet.rootsPem);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    setInterval(() => this.#heartbeat(), HEARTBEAT_MS);
  }

  answered(total: number): Promise<void> {
    if (this.#results >= total) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown): void => (error === undefined ? resolve() : reject(error));
      this.#waiting.add({ total, settle });
    });
  }

  calls(): LoadCalls {
    return {
      connect: (argument) => this.connect(argument),
      answered: (total) => this.answered(total),
      results: () => this.#results,
    };
  }

  /** Resolves with the answer to the first push. */
  #open(address: string, identity: KeyAndChain, rootsPem: string): Promise<void> {
    const dialer = new Dialer({ address, tls: { rootsPem, identity, minVersion: "TLSv1.3" }, peer: "server" });
    const stream = dialer.bidi(RelayServiceService.connect, new AbortController().signal);
    this.#streams.push(stream);
    stream.write({ message: { $case: "hello", value: HELLO } });
    return new Promise((resolve, reject) => {
      this.#serve(stream, resolve).catch((error: unknown) => {
        reject(error);
        for (const { settle } of this.#waiting) settle(error);
      });
    });
  }

  async #serve(stream: Stream, onAnswer: () => void): Promise<void> {
    for await (const { message } of stream.messages()) {
      if (message?.$case !== "push") continue;
      stream.write({ message: { $case: "result", value: resultOf(message.value) } });
      this.#count();
      onAnswer();
    }
    throw new MeshError("unavailable", "the server ended a session");
  }

  #count(): void {
    this.#results += 1;
    for (const waiting of this.#waiting) {
      if (this.#results < waiting.total) continue;
      this.#waiting.delete(waiting);
      waiting.settle();
    }
  }

  #heartbeat(): void {
    const time = new Date();
    for (const stream of this.#streams) stream.write({ message: { $case: "heartbeat", value: { time } } });
  }
}

const HELLO = {
  agentVersion: "bench",
  instanceId: "bench",
  capabilities: [],
  held: [{ type: ISSUED_CERTIFICATE, digest: Buffer.alloc(0) }],
};

function resultOf({ type, id, digest, upserts }: Push): Result {
  const results = upserts.map(({ name, content }) => ({
    name,
    outcome: ResourceOutcome.RESOURCE_OUTCOME_APPLIED,
    code: "",
    message: "",
    retriable: false,
    heldVersion: createHash("sha256").update(content).digest(),
  }));
  return { type, id, held: digest, wantWholeSet: false, results };
}

serveCalls(new Load().calls());
