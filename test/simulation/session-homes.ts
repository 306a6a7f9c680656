import type { KubernetesCluster } from "../../common/api/discovery.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { Epochs } from "../../server/identity/epochs.ts";
import type { SessionStore } from "../../server/identity/session-store.ts";
import type { ClusterObjects, StatusChange } from "../../server/store/cluster-objects.ts";
import { KubernetesSessions } from "../../server/store/kubernetes-sessions.ts";
import { LocalSessions } from "../../server/store/local-sessions.ts";
import type { Dice } from "./dice.ts";
import type { SimProcess } from "./process.ts";

/** Where sessions are recorded, over all lives of all replicas. */
export interface SessionHome {
  /** For one life of a replica; `run` keeps it up to date. */
  open(
    process: SimProcess,
    replica: string,
  ): Promise<{ readonly sessions: SessionStore; readonly run: (signal: AbortSignal) => Promise<void> }>;
}

/** A state directory: the server is alone, and only the epochs outlive it. */
export function localSessions(onClone: (cluster: string) => void): SessionHome {
  let stored: unknown;
  return {
    open: async (process) => {
      const document = <T>() => ({
        read: () => process.io(() => stored as T | undefined),
        write: (value: T) => process.io(() => void (stored = value)),
      });
      const clones = { tookTurns: ({ cluster }: { cluster: string }) => onClone(cluster) };
      const sessions = new LocalSessions(await Epochs.open({ document }), process.clock, clones);
      return { sessions, run: () => Promise.resolve() };
    },
  };
}

interface Versioned {
  readonly object: KubernetesCluster;
  readonly version: number;
}

/** KubernetesCluster objects of an API server: changed by compare-and-swap, heard of late. */
export class SharedSessions implements SessionHome {
  readonly #dice: Dice;
  readonly #objects = new Map<string, Versioned>();
  readonly #watchers = new Set<(name: string) => void>();
  readonly #onClone: (cluster: string) => void;
  /** Share of requests that fail. */
  failures = 0;

  constructor(clusters: readonly string[], dice: Dice, onClone: (cluster: string) => void) {
    this.#dice = dice;
    this.#onClone = onClone;
    for (const name of clusters) {
      const object = {
        apiVersion: "multicluster.solo.io/v1alpha1",
        ...{ kind: "KubernetesCluster", metadata: { name, namespace: "gloo-mesh" }, spec: {} },
        status: { identity: { state: "ENROLLED" } },
      } as KubernetesCluster;
      this.#objects.set(name, { object, version: 1 });
    }
  }

  async open(process: SimProcess, replica: string) {
    const objects = this.#watch(process);
    const context = { clock: process.clock, random: this.#dice.random, log: silentLog, stop: NEVER };
    const replicas = { isAlive: () => true, onChange: () => () => undefined };
    const events = { record: () => undefined };
    const clones = { tookTurns: ({ cluster }: { cluster: string }) => this.#onClone(cluster) };
    const sessions = new KubernetesSessions({ objects, replicas, replica, events, clones, context });
    return Promise.resolve({ sessions, run: (signal: AbortSignal) => sessions.run(signal) });
  }

  /** What one life of a replica hears of the objects, and how it changes them. */
  #watch(process: SimProcess): Pick<ClusterObjects, "get" | "values" | "onChange" | "updateStatus"> {
    const heard = new Map(this.#objects);
    const listeners = new Set<(name: string) => void>();
    const hear = (name: string, versioned: Versioned): void => {
      if ((heard.get(name)?.version ?? 0) >= versioned.version) return;
      heard.set(name, versioned);
      for (const listener of listeners) listener(name);
    };
    this.#watchers.add((name) => {
      process.later(this.#dice.between(1, 2_000), () => {
        const versioned = this.#objects.get(name);
        if (versioned) hear(name, versioned);
      });
    });
    const changing = new Map<string, Promise<unknown>>();
    return {
      get: (name) => heard.get(name)?.object,
      values: () => [...heard.values()].map(({ object }) => object),
      onChange: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
      updateStatus: async (name, change) => {
        const work = (changing.get(name) ?? Promise.resolve()).then(async () => {
          const versioned = await this.#update(process, name, { known: heard.get(name), change });
          if (versioned) hear(name, versioned);
          return versioned?.object;
        });
        changing.set(
          name,
          work.catch(() => undefined),
        );
        return work;
      },
    };
  }

  async #update(
    process: SimProcess,
    name: string,
    { known, change }: { known: Versioned | undefined; change: StatusChange },
  ): Promise<Versioned | undefined> {
    for (let from = known; ; from = await process.io(() => this.#objects.get(name))) {
      if (this.#dice.chance(this.failures)) throw new MeshError("unavailable", "the API server does not answer");
      const status = await change(from?.object);
      if (!status || !from) return from;
      const next = { object: { ...from.object, status }, version: from.version + 1 };
      const isDone = await process.io(() => this.#put(name, next), 50);
      if (isDone) return next;
    }
  }

  #put(name: string, next: Versioned): boolean {
    if (this.#objects.get(name)?.version !== next.version - 1) return false;
    this.#objects.set(name, next);
    for (const watcher of this.#watchers) watcher(name);
    return true;
  }
}

const NEVER = new AbortController().signal;
