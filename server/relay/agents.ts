import type { ClusterSession } from "../../proto/gen/admin/v1/admin.ts";
import { ISSUED_CERTIFICATE } from "../../common/session/resource-set.ts";
import type { IntentBook } from "./intent-book.ts";
import type { RelayObserver } from "./observer.ts";
import { PushLedger } from "./push-ledger.ts";
import { PushMachine } from "./push-machine.ts";
import type { LiveSession, Session } from "./session.ts";
import { type IntentView, viewIntent, viewSession } from "./views.ts";

export interface AgentsOptions {
  readonly intents: IntentBook;
  readonly observer: RelayObserver;
  /** Name of this replica of the server. */
  readonly replica: string;
}

/** How many there are of each, at one moment. */
export interface AgentCounts {
  readonly sessions: number;
  /** Connected, and not holding what they shall. */
  readonly outOfSync: number;
  readonly inFlight: number;
  /** Refused versions that wait. */
  readonly parked: number;
}

/** The agents as this replica knows them: who is connected here, and what each is known to hold, which outlives its session. */
export class Agents {
  readonly #options: AgentsOptions;
  readonly #sessions = new Map<string, Session>();
  readonly #ledgers = new Map<string, PushLedger>();

  constructor(options: AgentsOptions) {
    this.#options = options;
  }

  /** The sessions that are open here. */
  get open(): Iterable<Session> {
    return this.#sessions.values();
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Number of clusters that have been connected here, now or before. */
  get known(): number {
    return this.#ledgers.size;
  }

  sessionOf(cluster: string): Session | undefined {
    return this.#sessions.get(cluster);
  }

  ledgerOf(cluster: string): PushLedger | undefined {
    return this.#ledgers.get(cluster);
  }

  /** The ledger of a cluster, which is made where there is none. */
  takeLedger(cluster: string): PushLedger {
    const { observer } = this.#options;
    const ledger = this.#ledgers.get(cluster) ?? new PushLedger(new PushMachine(ISSUED_CERTIFICATE), observer);
    this.#ledgers.set(cluster, ledger);
    return ledger;
  }

  /** Puts a session in the place of its cluster. */
  enter(session: Session): void {
    this.#sessions.set(session.info.cluster, session);
  }

  /** Takes it away, unless a newer one of its cluster has taken the place already. */
  leave(session: Session): void {
    const { cluster } = session.info;
    if (this.#sessions.get(cluster) !== session) return;
    this.#sessions.delete(cluster);
    this.#ledgers.get(cluster)?.ended();
  }

  isConnected(cluster: string): boolean {
    return this.#sessions.has(cluster);
  }

  /** Version (hex) of a resource that the cluster's agent has acknowledged; undefined when it is not known. */
  acknowledged(cluster: string, key: string): string | undefined {
    return this.#ledgers.get(cluster)?.machine.held?.get(key);
  }

  /** The agent's refusal of the version in force of a resource. */
  rejection(cluster: string, key: string): string | undefined {
    return this.#ledgers.get(cluster)?.machine.parked.get(key)?.message;
  }

  /** What the agent of a cluster whose session is held here holds, as far as that is known; undefined without a session. */
  live(cluster: string): LiveSession | undefined {
    const session = this.#sessions.get(cluster);
    const machine = this.#ledgers.get(cluster)?.machine;
    return session && machine && { epoch: session.info.epoch, held: machine.held, parked: machine.parked };
  }

  /** The cluster's session here, for people; undefined when there is none. */
  view(cluster: string): ClusterSession | undefined {
    const session = this.#sessions.get(cluster);
    const ledger = this.#ledgers.get(cluster);
    if (!session || !ledger) return undefined;
    return viewSession(session, {
      ledger,
      desired: this.#options.intents.get(cluster),
      replica: this.#options.replica,
    });
  }

  /** What a cluster shall hold, and what of it was acknowledged. */
  intent(cluster: string): IntentView {
    const ledger = this.#ledgers.get(cluster);
    return viewIntent(this.#options.intents.get(cluster), ledger?.machine, ledger);
  }

  counts(): AgentCounts {
    const ledgers = [...this.#sessions.keys()].flatMap((cluster) => this.#ledgers.get(cluster) ?? []);
    return {
      sessions: this.#sessions.size,
      outOfSync: ledgers.filter((ledger) => !ledger.isInSync).length,
      inFlight: ledgers.filter((ledger) => ledger.isInFlight).length,
      parked: ledgers.reduce((sum, { machine }) => sum + machine.parked.size, 0),
    };
  }
}
