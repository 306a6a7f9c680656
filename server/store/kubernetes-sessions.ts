import type { ClusterSessionStatus, KubernetesCluster } from "../../common/api/discovery.ts";
import type { EventRecorder } from "../../common/kube/events.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { Backoff } from "../../common/runtime/retry.ts";
import { type CloneWatch, takeTurn } from "../identity/clone-watch.ts";
import type { EndedSession, NewSession, SessionRecord, SessionStore } from "../identity/session-store.ts";
import { registered } from "../identity/transitions.ts";
import type { ClusterObjects } from "./cluster-objects.ts";
import { recordOf, sessionOf, storedSession } from "./cluster-status.ts";
import type { ApiServerContext } from "./kubernetes-context.ts";
import type { Replicas } from "./replicas.ts";

type Named = Pick<SessionRecord, "cluster" | "epoch">;

/** A change of a session's record that waits to be written. */
interface Waiting {
  readonly epoch: bigint;
  readonly change: Partial<ClusterSessionStatus>;
}

/** Less than this is a clock in order: nobody needs to read it to the millisecond. */
const OFFSET_STEP_MS = 1_000;
const PARALLEL = 16;
const BACKOFF = { baseMs: 500, capMs: 10_000 };

export interface KubernetesSessionsDeps {
  readonly objects: Pick<ClusterObjects, "get" | "values" | "onChange" | "updateStatus">;
  readonly replicas: Pick<Replicas, "isAlive" | "onChange">;
  /** Name of this replica. */
  readonly replica: string;
  readonly events: Pick<EventRecorder, "record">;
  readonly clones: Pick<CloneWatch, "tookTurns">;
  readonly context: Pick<ApiServerContext, "clock" | "random" | "log" | "stop">;
}

/** The sessions in the status of KubernetesCluster objects: written at begin and end, and by compare-and-swap. */
export class KubernetesSessions implements SessionStore {
  readonly replica: string;
  readonly #deps: KubernetesSessionsDeps;
  /** Identifiers of the sessions that are open here, or about to be. */
  readonly #open = new Set<string>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #dirty = new Latest<number>(0);
  readonly #backoff: Backoff;

  constructor(deps: KubernetesSessionsDeps) {
    this.replica = deps.replica;
    this.#deps = deps;
    this.#backoff = new Backoff({ ...BACKOFF, random: deps.context.random });
    deps.objects.onChange((cluster) => this.#sweep(cluster));
  }

  async begin(session: NewSession, instance: string): Promise<bigint> {
    const { objects, context, replica, clones } = this.#deps;
    const { cluster, sessionId } = session;
    // Noted before it is written: the watch may tell of it before the answer does.
    this.#open.add(sessionId);
    let [epoch, isClone] = [0n, false];
    try {
      const recorded = await objects.updateStatus(
        cluster,
        (found) => {
          registered(found && recordOf(found), cluster);
          epoch = nextEpoch(found, context.clock.now());
          const turn = takeTurn(found?.status?.session?.turns ?? [], instance);
          isClone = turn.isClone;
          return {
            ...found?.status,
            session: { ...storedSession({ ...session, epoch, replica }), turns: turn.turns },
          };
        },
        "heard",
      );
      if (recorded && isClone) clones.tookTurns(session);
      if (recorded) this.#tell(recorded, "Connected", `an agent ${session.agentVersion} connected to ${replica}`);
    } catch (error) {
      this.#open.delete(sessionId);
      throw error;
    }
    return epoch;
  }

  end({ cluster, epoch, sessionId }: EndedSession, reason: string): void {
    this.#open.delete(sessionId);
    if ((this.get(cluster)?.epoch ?? epoch) > epoch) return;
    const endedAt = new Date(this.#deps.context.clock.now()).toISOString();
    this.#write(cluster, epoch, { connected: false, endedAt, endReason: reason });
  }

  noteClockOffset({ cluster, epoch }: Named, offsetMs: number): void {
    const known = this.get(cluster);
    if (known?.epoch !== epoch || Math.abs(known.clockOffsetMs - offsetMs) < OFFSET_STEP_MS) return;
    this.#write(cluster, epoch, { clockOffsetMs: Math.round(offsetMs) });
  }

  get(cluster: string): SessionRecord | undefined {
    const { objects, replicas } = this.#deps;
    const found = objects.get(cluster);
    const session = found && sessionOf(found);
    return session && { ...session, connected: session.connected && replicas.isAlive(session.replica) };
  }

  isConnected(cluster: string): boolean {
    return this.get(cluster)?.connected ?? false;
  }

  onChange(listener: (cluster: string) => void): () => void {
    const { objects, replicas } = this.#deps;
    const forgetObjects = objects.onChange(listener);
    const forgetReplicas = replicas.onChange((replica) => {
      for (const cluster of objects.values())
        if (sessionOf(cluster)?.replica === replica) listener(cluster.metadata.name);
    });
    return () => {
      forgetObjects();
      forgetReplicas();
    };
  }

  /** Writes what waits until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    for await (const _ of this.#dirty.watch(signal)) await this.flush(signal);
  }

  /** Writes what waits now. What the API server does not take is tried again until `signal` is aborted. */
  async flush(signal: AbortSignal): Promise<void> {
    while (this.#waiting.size > 0 && !signal.aborted) {
      const batch = [...this.#waiting].slice(0, PARALLEL);
      const done = await Promise.all(batch.map(([cluster, waiting]) => this.#writeOne(cluster, waiting)));
      if (done.every(Boolean)) this.#backoff.reset();
      else await this.#deps.context.clock.sleep(this.#backoff.next(), signal).catch(() => undefined);
    }
  }

  #write(cluster: string, epoch: bigint, change: Partial<ClusterSessionStatus>): void {
    const before = this.#waiting.get(cluster);
    if (before && before.epoch > epoch) return;
    this.#waiting.set(cluster, { epoch, change: before?.epoch === epoch ? { ...before.change, ...change } : change });
    this.#dirty.set((this.#dirty.value ?? 0) + 1);
  }

  /** False when it must be tried again. */
  async #writeOne(cluster: string, waiting: Waiting): Promise<boolean> {
    const { objects, context } = this.#deps;
    const { epoch, change } = waiting;
    try {
      const recorded = await objects.updateStatus(
        cluster,
        (found) => {
          const session = found?.status?.session;
          const isLast = session?.epoch === Number(epoch);
          return isLast ? { ...found?.status, session: { ...session, ...change } } : undefined;
        },
        "heard",
      );
      const isLast = recorded?.status?.session?.epoch === Number(epoch);
      if (isLast && change.endReason !== undefined) this.#tell(recorded, "Disconnected", change.endReason);
    } catch (thrown) {
      if (!context.stop.aborted)
        context.log.warn("session cannot be recorded", { cluster, err: MeshError.from(thrown) });
      return false;
    }
    // What came meanwhile is written in its own turn.
    if (this.#waiting.get(cluster) === waiting) this.#waiting.delete(cluster);
    return true;
  }

  #tell(regarding: KubernetesCluster, reason: string, note: string): void {
    this.#deps.events.record({ regarding, type: "Normal", action: "Serve", reason, note });
  }

  /** A session of this replica's name that is not open here is one of an earlier life. */
  #sweep(cluster: string): void {
    const found = this.#deps.objects.get(cluster);
    const session = found && sessionOf(found);
    if (!session?.connected || session.replica !== this.replica || this.#open.has(session.sessionId)) return;
    if (this.#waiting.get(cluster)?.epoch !== session.epoch) this.end(session, "the server was started anew");
  }
}

/** Above all before it, and above those of an object that was deleted or restored from a backup, which is why time counts. */
function nextEpoch(cluster: KubernetesCluster | undefined, nowMs: number): bigint {
  const before = BigInt(cluster?.status?.session?.epoch ?? 0);
  const now = BigInt(nowMs);
  return before >= now ? before + 1n : now;
}
