import { once } from "node:events";
import { type Lease, type Observation, observe } from "../../common/kube/election.ts";
import { LEASES, LeaseCandidate } from "../../common/kube/lease.ts";
import { deleteObject } from "../../common/kube/objects.ts";
import { Reflector } from "../../common/kube/reflector.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import type { ApiServerContext } from "./kubernetes-context.ts";

const PREFIX = "enterprise-networking-";
const LOOK_MS = 1_000;
/** A dead replica's Lease says when it died; nobody needs it for longer. */
const FORGET_MS = 10 * 60_000;

export interface ReplicasOptions extends ApiServerContext {
  /** Name of this replica. */
  readonly replica: string;
}

/** Which replicas of the server live: each renews a Lease of its own, and all watch all of them. */
export class Replicas {
  readonly #options: ReplicasOptions;
  readonly #reflector: Reflector;
  readonly #listeners = new Set<(replica: string) => void>();
  #observations = new Map<string, Observation>();
  #alive: ReadonlySet<string> = new Set();

  constructor(options: ReplicasOptions) {
    this.#options = options;
    this.#reflector = new Reflector({
      ...options,
      type: LEASES,
      keep: (lease) => (lease.metadata.name.startsWith(PREFIX) ? lease : undefined),
    });
  }

  get isSynced(): boolean {
    return this.#reflector.objects.value !== undefined;
  }

  /** As far as this replica can see; of itself it knows. */
  isAlive(replica: string): boolean {
    return replica === this.#options.replica || this.#alive.has(replica);
  }

  /** Calls `listener` with the replica that died or came. Returns what takes it off. */
  onChange(listener: (replica: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Renews this replica's Lease and follows those of the others until `signal` is aborted; then gives its own up. */
  async run(signal: AbortSignal): Promise<void> {
    const { replica: identity } = this.#options;
    const own = new LeaseCandidate({ ...this.#options, name: PREFIX + identity, identity });
    await runTasks(signal, {
      "replica leases": (stop) => this.#reflector.run(stop),
      "own lease": (stop) => own.run(untilAborted, stop),
      look: (stop) => this.#look(stop),
    });
  }

  /** Deletes the Leases of replicas that are dead for long, until `signal` is aborted. For the leader. */
  async prune(signal: AbortSignal): Promise<void> {
    const { client, clock, log } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(FORGET_MS / 10, signal).catch(() => undefined);
      if (this.#reflector.fault.value) continue;
      for (const [name, { lease, sinceMs }] of this.#observations) {
        if (this.isAlive(name) || clock.now() - sinceMs < FORGET_MS) continue;
        await deleteObject(client, LEASES, lease, signal).catch((thrown: unknown) => {
          // Renewed after all, or deleted by another: the watch tells.
          if (!signal.aborted)
            log.warn("lease of a dead replica cannot be deleted", { replica: name, err: MeshError.from(thrown) });
        });
      }
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let wasBlind = false;
    while (!signal.aborted) {
      const isBlind = (this.#reflector.fault.value ?? null) !== null;
      // Who cannot see must not bury: what was known last stands, and after it everybody gets his whole term again.
      if (wasBlind && !isBlind) this.#observations = new Map();
      if (!isBlind) this.#judge(clock.now());
      wasBlind = isBlind;
      await clock.sleep(LOOK_MS, signal).catch(() => undefined);
    }
  }

  #judge(nowMs: number): void {
    const leases = [...(this.#reflector.objects.value?.values() ?? [])] as unknown as Lease[];
    const named = leases.map((lease) => [lease.metadata.name.slice(PREFIX.length), lease] as const);
    this.#observations = new Map(
      named.map(([name, lease]) => [name, observe(this.#observations.get(name), lease, nowMs)]),
    );
    const before = this.#alive;
    this.#alive = new Set(
      [...this.#observations].filter(([, observation]) => isRenewed(observation, nowMs)).map(([name]) => name),
    );
    for (const replica of new Set([...before, ...this.#alive])) {
      if (before.has(replica) === this.#alive.has(replica)) continue;
      for (const listener of this.#listeners) listener(replica);
    }
  }
}

function isRenewed({ lease: { spec }, sinceMs }: Observation, nowMs: number): boolean {
  const { holderIdentity = "", leaseDurationSeconds = 0 } = spec;
  return holderIdentity !== "" && nowMs - sinceMs < leaseDurationSeconds * 1000;
}

const untilAborted = async (signal: AbortSignal): Promise<void> => {
  if (!signal.aborted) await once(signal, "abort");
};
