import { NODE_FLAGS } from "../../scripts/programs.ts";
import { Child } from "../child.ts";
import type { LoadCalls } from "./load.ts";
import type { ListenArgument, PushArgument, RelayServerCalls, Round } from "./server-calls.ts";

const moduleOf = (name: string): URL => new URL(`./${name}.ts`, import.meta.url);

/** The process of many agents. */
export const startLoad = (): Promise<Child<LoadCalls>> => Child.start<LoadCalls>({ module: moduleOf("load") });

/** A relay server in a process of its own, with agents in another. Disposing stops both. */
export class Side implements AsyncDisposable {
  readonly server: Child<RelayServerCalls>;
  readonly load: Child<LoadCalls>;
  /** CPU of the server for each agent that `connect` has connected. */
  connectCpuMs = Number.NaN;
  /** Rejects when an agent is lost. */
  #lost: Promise<never> = new Promise(() => undefined);
  #agents = 0;
  #baseBytes = 0;

  private constructor(server: Child<RelayServerCalls>, load: Child<LoadCalls>) {
    this.server = server;
    this.load = load;
  }

  static async start(which: "ours" | "bare", cpuProf?: string): Promise<Side> {
    const server = await Child.start<RelayServerCalls>({
      module: moduleOf(which),
      nodeFlags: NODE_FLAGS["enterprise-networking"],
      cpuProf,
    });
    return new Side(server, await startLoad());
  }

  /** Connects all agents and waits until each has answered its first push. */
  async connect(argument: ListenArgument): Promise<void> {
    const { fleetFile, agents } = argument;
    const address = await this.server.call("listen", argument);
    const before = await this.server.usage({ gc: true });
    this.#agents = agents;
    this.#baseBytes = before.rssBytes;
    await this.load.call("connect", { address, fleetFile, agents });
    this.#lost = this.load.call("lost", null).then(() => Promise.reject(new Error("an agent was lost")));
    this.#lost.catch(() => undefined);
    await this.server.call("settled", null);
    const after = await this.server.usage();
    this.connectCpuMs = (after.cpuUs - before.cpuUs) / 1000 / agents;
  }

  /** Pushes and waits for the results. Throws when an agent was lost meanwhile. */
  async push(argument: PushArgument): Promise<Round> {
    return Promise.race([this.server.call("push", argument), this.#lost]);
  }

  /** Memory of the server above what it had before the first agent came, per agent. */
  async rssKiB(): Promise<number> {
    const { rssBytes } = await this.server.usage({ gc: true });
    return (rssBytes - this.#baseBytes) / 1024 / this.#agents;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.server[Symbol.asyncDispose](), this.load[Symbol.asyncDispose]()]);
  }
}
