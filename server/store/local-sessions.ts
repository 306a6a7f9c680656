import type { NewSession, SessionRecord, SessionStore } from "../identity/session-store.ts";
import { type CloneWatch, takeTurn, type Turns } from "../identity/clone-watch.ts";
import type { Epochs } from "../identity/epochs.ts";
import { type Clock, systemClock } from "../../common/runtime/clock.ts";

type Named = Pick<SessionRecord, "cluster" | "epoch">;

/** Sessions of a server that has no other replica: only the epochs must outlive it. */
export class LocalSessions implements SessionStore {
  readonly replica = "";
  readonly #epochs: Pick<Epochs, "next">;
  readonly #clock: Pick<Clock, "now">;
  readonly #clones: Pick<CloneWatch, "tookTurns"> | undefined;
  readonly #turns = new Map<string, Turns>();
  readonly #sessions = new Map<string, SessionRecord>();
  readonly #listeners = new Set<(cluster: string) => void>();

  /** Nobody looks for clones without `clones`. */
  constructor(
    epochs: Pick<Epochs, "next">,
    clock: Pick<Clock, "now"> = systemClock,
    clones?: Pick<CloneWatch, "tookTurns">,
  ) {
    this.#epochs = epochs;
    this.#clock = clock;
    this.#clones = clones;
  }

  async begin(session: NewSession, instance: string): Promise<bigint> {
    const { cluster } = session;
    const epoch = await this.#epochs.next();
    const known = this.#sessions.get(cluster);
    // Two that begin at once may be recorded in either order.
    if (known && known.epoch > epoch) return epoch;
    const { turns, isClone } = takeTurn(this.#turns.get(cluster) ?? [], instance);
    this.#turns.set(cluster, turns);
    this.#set({ ...session, epoch, replica: this.replica, connected: true, clockOffsetMs: 0 });
    if (isClone) this.#clones?.tookTurns(session);
    return epoch;
  }

  end({ cluster, epoch }: Named, reason: string): void {
    const known = this.#sessions.get(cluster);
    const ended = { atMs: this.#clock.now(), reason };
    if (known?.epoch === epoch) this.#set({ ...known, connected: false, ended });
  }

  /** Nobody is told: it comes with each heartbeat. */
  noteClockOffset({ cluster, epoch }: Named, clockOffsetMs: number): void {
    const known = this.#sessions.get(cluster);
    if (known?.epoch === epoch) this.#sessions.set(cluster, { ...known, clockOffsetMs });
  }

  get(cluster: string): SessionRecord | undefined {
    return this.#sessions.get(cluster);
  }

  isConnected(cluster: string): boolean {
    return this.#sessions.get(cluster)?.connected ?? false;
  }

  onChange(listener: (cluster: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #set(session: SessionRecord): void {
    this.#sessions.set(session.cluster, session);
    for (const listener of this.#listeners) listener(session.cluster);
  }
}
