import { heldDigest, type Held } from "../../agent/apply/apply-machine.ts";
import { keyOf, versionOf } from "../../common/session/resource-set.ts";
import { ResourceOutcome, type Push, type Result } from "../../proto/gen/relay/v1/relay.ts";
import type { SimReplica } from "./replica.ts";
import type { Truth } from "./truth.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** What the server waits before it sends a version again that was refused for now. */
const RETRY = { baseMs: 5 * 60_000, capMs: 60 * 60_000 };

interface Refusal {
  readonly version: string;
  readonly retryAtMs: number;
  readonly attempts: number;
}

/** Sees all that passes, and says what must never have happened. */
export class Ledger {
  readonly #truth: Truth;
  readonly #time: VirtualTime;
  /** By replica's life, cluster and key: what that life of the replica was told. */
  readonly #refusals = new Map<string, Refusal>();
  /** True where a replica may honestly not know of a resource: it hears late, or has lost its intent. */
  readonly #mayMiss: () => boolean;
  /** The first thing that must not have happened. */
  violation: string | undefined;
  pushes = 0;
  sessions = 0;
  /** Resources that were removed at an agent, and versions that were refused. */
  removals = 0;
  refusals = 0;

  constructor(options: { truth: Truth; time: VirtualTime; mayMiss: () => boolean }) {
    this.#truth = options.truth;
    this.#time = options.time;
    this.#mayMiss = options.mayMiss;
  }

  fail(what: string): void {
    this.violation ??= what;
  }

  /** Versions of the push that each replica's life sent last to a cluster, by key. */
  readonly #sent = new Map<string, ReadonlyMap<string, string>>();

  /** A push leaves a replica: nothing in it may be a version that this replica knows to be refused. */
  sent(replica: SimReplica, cluster: string, push: Push): void {
    this.pushes += 1;
    const versions = push.upserts.map(({ name, content }) => [name ? keyOf(name) : "", versionOf(content)] as const);
    this.#sent.set(idOf(replica, cluster, ""), new Map(versions));
    // Where it is not known what an agent holds, it gets all there is.
    if (push.base.length === 0) return;
    for (const [key, version] of versions) {
      const refusal = this.#refusals.get(idOf(replica, cluster, key));
      if (refusal?.version === version && this.#time.nowMs < refusal.retryAtMs) {
        this.fail(`${replica.name} sent ${cluster} a version of ${label(key)} again that was refused`);
      }
    }
  }

  /** An agent answers: what it says that it holds lies on its disk. */
  promised(cluster: string, held: Held, result: Result): void {
    if (Buffer.compare(heldDigest(held), result.held) !== 0) {
      this.fail(`${cluster} acknowledged what it has not stored`);
    }
  }

  /** A result reached the session that is in force. */
  answered(replica: SimReplica, cluster: string, result: Result): void {
    for (const { name, outcome, retriable } of result.results) {
      const key = name ? keyOf(name) : "";
      const version = this.#sent.get(idOf(replica, cluster, ""))?.get(key);
      const isWanted = replica.intents.get(cluster).resources.get(key)?.version === version;
      if (outcome !== ResourceOutcome.RESOURCE_OUTCOME_REJECTED || version === undefined || !isWanted) continue;
      this.refusals += 1;
      const before = this.#refusals.get(idOf(replica, cluster, key));
      const attempts = before?.version === version ? before.attempts + 1 : 1;
      const waitMs = Math.min(RETRY.capMs, RETRY.baseMs * 2 ** (attempts - 1));
      const retryAtMs = retriable ? this.#time.nowMs + waitMs : Infinity;
      this.#refusals.set(idOf(replica, cluster, key), { version, retryAtMs, attempts });
    }
  }

  /** A replica heard of new intent: what was refused before is another matter now. */
  heard(replica: SimReplica, cluster: string): void {
    const { resources } = replica.intents.get(cluster);
    const prefix = idOf(replica, cluster, "");
    for (const [id, { version }] of this.#refusals) {
      if (id.startsWith(prefix) && resources.get(id.slice(prefix.length))?.version !== version) {
        this.#refusals.delete(id);
      }
    }
  }

  /** What an agent holds has changed: nothing leaves it that nobody took out. */
  stored(cluster: string, before: Held, after: Held): void {
    for (const key of before.managed.keys()) {
      if (after.managed.has(key)) continue;
      const detached = after.detached.get(key);
      if (detached?.removed) this.removals += 1;
      if (!detached) this.fail(`${label(key)} was removed from ${cluster}`);
      else if (detached.removed && !this.#truth.wasRemoved(cluster, key)) {
        this.fail(`${label(key)} of ${cluster} was taken for removed, and nobody removed it`);
      } else if (!detached.removed && !this.#mayMiss() && !this.#truth.wasRemoved(cluster, key)) {
        this.fail(`${label(key)} of ${cluster} was detached, and was never absent`);
      }
    }
    for (const [key, { removed }] of before.detached) {
      if (after.managed.has(key) || after.detached.has(key)) continue;
      if (!removed) this.fail(`${label(key)} was let go by ${cluster}, and nobody removed it`);
    }
  }
}

const idOf = (replica: SimReplica, cluster: string, key: string): string =>
  `${replica.name}#${replica.life} ${cluster} ${key}`;

const label = (key: string): string => key.replace("\0", "/");
