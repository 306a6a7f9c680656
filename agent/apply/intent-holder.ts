import { IssuedCertificate, type ResourceName } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Push, Result } from "../../proto/gen/relay/v1/relay.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import { ISSUED_CERTIFICATE, keyOf, type WireResource } from "../../common/session/resource-set.ts";
import type { HeldCertificate } from "../certs/orders.ts";
import { validateCertificate } from "./validate.ts";
import { applyPush, heldDigest, releaseUnused, type Held } from "./apply-machine.ts";

/** Why a resource could not be stored, by key; there the version before it stands. */
export type StoreRefusals = ReadonlyMap<string, MeshError>;

/** Where the set survives a restart: the one seam between the two homes. */
export interface IntentStore {
  /** What is in force at this replica; it follows what is stored, whichever replica stored it. */
  readonly certificates: Latest<readonly HeldCertificate[]>;
  /** What is stored now; nothing before the first time. */
  load(signal: AbortSignal): Promise<Held>;
  /** Stores what differs. Resolves with what it could not store; throws when it is not known what is stored. */
  save(held: Held, signal: AbortSignal): Promise<StoreRefusals>;
  /** Calls `restore` whenever somebody else changed what was saved, until `signal` is aborted. */
  guard(restore: Restore, signal: AbortSignal): Promise<void>;
}

/** Stores once more what is held, without the detached ones of these keys: somebody let them go. */
export type Restore = (letGo: ReadonlySet<string>) => Promise<void>;

/** Holds the intent of the cluster, at the one replica that may change it: stores each change before it is acknowledged. */
export class IntentHolder {
  readonly #store: IntentStore;
  /** The end of all work here. That of a session is none: what it was about to store is as good without it. */
  readonly #signal: AbortSignal;
  /** What is stored; undefined after a fault, until it is read again: some of it may have been stored. */
  #known: Held | undefined;
  #busy: Promise<unknown> = Promise.resolve();

  private constructor(store: IntentStore, held: Held, signal: AbortSignal) {
    this.#store = store;
    this.#known = held;
    this.#signal = signal;
  }

  /** Loads what was stored: the last intent is in force before any server was reached. Works until `signal` is aborted. */
  static async open(store: IntentStore, signal: AbortSignal): Promise<IntentHolder> {
    return new IntentHolder(store, await store.load(signal), signal);
  }

  /** Digest of what is held, once that is known. */
  async digest(): Promise<Buffer> {
    return this.#exclusive(async (held) => heldDigest(held));
  }

  /** Stores what a push changes; the result may be sent when the promise resolves. */
  async apply(push: Push): Promise<Result> {
    return this.#exclusive(async (held) => {
      if (push.type !== ISSUED_CERTIFICATE) {
        throw new MeshError("unimplemented", `resource type ${push.type} is not known to this agent`);
      }
      const wanted = applyPush(held, push, validateCertificate);
      if (!wanted.next) return wanted.result;
      const refusals = await this.#save(wanted.next);
      if (refusals.size === 0) return wanted.result;
      return this.#withRefusals(held, push, refusals);
    });
  }

  /** Lets go of detached certificates that were removed on purpose and that no istiod uses any more. */
  async release(isUsed: (name: ResourceName) => boolean): Promise<void> {
    await this.#exclusive(async (held) => {
      const next = releaseUnused(held, (key) => {
        const name = held.detached.get(key)?.resource.name;
        return name !== undefined && isUsed(name);
      });
      if (next) await this.#saveAll(held, next);
    });
  }

  /** Stores what is held once more, where somebody else changed what is stored; see `Restore`. */
  async restore(letGo: ReadonlySet<string>): Promise<void> {
    await this.#exclusive(({ managed, detached }) => {
      const kept = new Map([...detached].filter(([key]) => !letGo.has(key)));
      return this.#saveAll({ managed, detached }, { managed, detached: kept });
    });
  }

  /** Where the store refuses some of it, what was held before is what is held. */
  async #saveAll(held: Held, next: Held): Promise<void> {
    if ((await this.#save(next)).size > 0) this.#known = held;
  }

  async #save(next: Held): Promise<StoreRefusals> {
    this.#known = undefined;
    const refusals = await this.#store.save(next, this.#signal);
    if (refusals.size === 0) this.#known = next;
    return refusals;
  }

  /** What is stored of a push, when the store did not take all of it: each refusal is that of its resource alone. */
  #withRefusals(held: Held, push: Push, refusals: StoreRefusals): Result {
    const upserts = new Set(push.upserts.map(({ name }) => (name ? keyOf(name) : "")));
    const [unasked] = [...refusals].filter(([key]) => !upserts.has(key));
    // A removal has no refusal on the wire: the session ends, and the push is sent again.
    if (unasked) throw unasked[1];
    const { next, result } = applyPush(held, push, (resource) => {
      validateCertificate(resource);
      const refusal = refusals.get(keyOf(resource.name));
      if (refusal) throw refusal;
    });
    this.#known = next ?? held;
    return result;
  }

  /** Changes follow one another, each on what is stored by then: a push and a release never overwrite each other. */
  #exclusive<T>(work: (held: Held) => Promise<T>): Promise<T> {
    const result = this.#busy.then(async () => work((this.#known ??= await this.#store.load(this.#signal))));
    this.#busy = result.catch(() => undefined);
    return result;
  }
}

/** What istiods are given of what is held. */
export function certificatesOf({ managed, detached }: Held): HeldCertificate[] {
  return [
    ...[...managed.values()].map((resource) => toHeld(resource, false)),
    ...[...detached.values()].map(({ resource }) => toHeld(resource, true)),
  ];
}

function toHeld({ content, version }: WireResource, detached: boolean): HeldCertificate {
  return { certificate: IssuedCertificate.decode(content), version: Buffer.from(version, "hex"), detached };
}
