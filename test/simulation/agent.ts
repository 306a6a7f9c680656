import { IntentHolder } from "../../agent/apply/intent-holder.ts";
import type { AgentCredentials } from "../../agent/identity/documents.ts";
import type { RelayStream } from "../../agent/relay/relay-channel.ts";
import { RelayClient } from "../../agent/relay/relay-client.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { keyOf, nameOf } from "../../common/session/resource-set.ts";
import { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Dice } from "./dice.ts";
import { type Disk, DiskStore } from "./disk.ts";
import type { SimProcess } from "./process.ts";

const CREDENTIALS: AgentCredentials = {
  ...{ keyPem: "", certificatePem: "", trustBundlePem: "", cluster: "", serial: "1" },
  ...{ notBeforeMs: 0, notAfterMs: 9e15 },
};

export interface SimAgentOptions {
  readonly cluster: string;
  readonly disk: Disk;
  readonly dice: Dice;
  readonly begin: () => SimProcess;
  readonly dial: (agent: SimAgent, signal: AbortSignal) => RelayStream;
  /** Told of what nothing may ever throw. */
  readonly onFault: (what: string, error: unknown) => void;
}

/** An agent over all its lives: the product's relay client and intent holder, and a disk. */
export class SimAgent {
  readonly cluster: string;
  readonly disk: Disk;
  readonly #options: SimAgentOptions;
  process: SimProcess;
  #stop = new AbortController();
  readonly #lives: AbortController[] = [];
  #statuses = new Latest<readonly IssuedCertificateStatus[]>([]);
  #number = 0;
  client: RelayClient | undefined;
  holder: IntentHolder | undefined;
  /** Set while it was asked to stop and has not. */
  stoppingSinceMs: number | undefined;

  constructor(options: SimAgentOptions) {
    this.#options = options;
    this.cluster = options.cluster;
    this.disk = options.disk;
    this.process = options.begin();
    this.#live();
  }

  get statuses(): readonly IssuedCertificateStatus[] {
    return this.#statuses.value ?? [];
  }

  start(): void {
    if (this.process.isAlive) return;
    this.process = this.#options.begin();
    this.#live();
  }

  kill(): void {
    this.process.kill();
    this.stoppingSinceMs = undefined;
  }

  /** Ends as it does at SIGTERM. */
  stop(): void {
    if (!this.process.isAlive || this.stoppingSinceMs !== undefined) return;
    this.stoppingSinceMs = this.process.clock.now();
    this.#stop.abort(new Error("SIGTERM"));
  }

  /** The world ends: whoever still waits for anything, in any life, is let go. */
  end(): void {
    for (const life of this.#lives) life.abort();
  }

  /** Some of what it knows of its certificates changes. */
  report(): void {
    const number = (this.#number += 1);
    const { managed, detached } = this.disk.held;
    const names = [...managed.keys(), ...detached.keys()].filter(() => this.#options.dice.chance(0.8)).map(nameOf);
    const error = { code: "vault_sealed", message: `${number}`, hint: "" };
    this.#statuses.set(names.map((name) => IssuedCertificateStatus.fromPartial({ name, error })));
  }

  /** Lets go of what was taken out and is not in use, whichever that is now. */
  release(): void {
    const used = new Set([...this.disk.held.detached.keys()].filter(() => this.#options.dice.chance(0.5)));
    const released = this.holder?.release((name) => used.has(keyOf(name)));
    released?.catch(() => undefined);
  }

  #live(): void {
    const { process } = this;
    const { onFault, cluster } = this.#options;
    const stop = (this.#stop = new AbortController());
    this.#lives.push(stop);
    this.stoppingSinceMs = undefined;
    this.#statuses = new Latest<readonly IssuedCertificateStatus[]>([]);
    const ended = (fault: string, error?: unknown): void => {
      if (!stop.signal.aborted) onFault(fault, error);
      process.kill();
      if (this.process === process) this.stoppingSinceMs = undefined;
    };
    this.#run(process, stop.signal).then(
      () => ended(`agent of ${cluster} ended`),
      (error: unknown) => ended(`agent of ${cluster}`, error),
    );
  }

  async #run(process: SimProcess, signal: AbortSignal): Promise<void> {
    const { disk, dice, dial } = this.#options;
    const { clock } = process;
    const store = new DiskStore(disk, process, dice);
    const intent = await openPatiently(() => IntentHolder.open(store, signal), process, signal);
    this.holder = intent;
    this.client = new RelayClient({
      ...{ clock, random: dice.random, log: silentLog, intent },
      identity: {
        current: () => CREDENTIALS,
        confirm: () => process.io(() => undefined),
        refused: () => Promise.resolve(false),
        heardRoots: () => undefined,
      },
      dial: () => ({
        connect: (until) => dial(this, until),
        renew: () => Promise.reject(new Error("not asked here")),
        close: () => undefined,
      }),
      report: { statuses: this.#statuses, podBounces: new Latest(new Map()), discovery: new Latest() },
    });
    await this.client.run(signal);
  }
}

async function openPatiently<T>(open: () => Promise<T>, { clock }: SimProcess, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await open();
    } catch {
      await clock.sleep(1_000, signal);
    }
  }
}
