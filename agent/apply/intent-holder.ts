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
export type Restore = (letGo: ReadonlySet<string>, signal: AbortSignal) => Promise<void>;

/** Holds the intent of the cluster, at the one replica that may change it: stores each change before it is acknowledged. */
export class IntentHolder {
  readonly #store: IntentStore;
  #held: Held;
  #busy: Promise<unknown> = Promise.resolve();

  private constructor(store: IntentStore, held: Held) {
    this.#store = store;
    this.#held = held;
  }

  /** Loads what was stored: the last intent is in force before any server was reached. */
  static async open(store: IntentStore, signal: AbortSignal): Promise<IntentHolder> {
    return new IntentHolder(store, await store.load(signal));
  }

  digest(): Buffer {
    return heldDigest(this.#held);
  }

  /** Stores what a push changes; the result may be sent when the promise resolves. */
  async apply(push: Push, signal: AbortSignal): Promise<Result> {
    return this.#exclusive(async () => {
      if (push.type !== ISSUED_CERTIFICATE) {
        throw new MeshError("unimplemented", `resource type ${push.type} is not known to this agent`);
      }
      const wanted = applyPush(this.#held, push, validateCertificate);
      if (!wanted.next) return wanted.result;
      const refusals = await this.#save(wanted.next, signal);
      if (refusals.size === 0) return wanted.result;
      return this.#withRefusals(push, refusals);
    });
  }

  /** Lets go of detached certificates that were removed on purpose and that no istiod uses any more. */
  async release(isUsed: (name: ResourceName) => boolean, signal: AbortSignal): Promise<void> {
    await this.#exclusive(async () => {
      const next = releaseUnused(this.#held, (key) => {
        const name = this.#held.detached.get(key)?.resource.name;
        return name !== undefined && isUsed(name);
      });
      if (next) await this.#save(next, signal);
    });
  }

  /** Stores what is held once more, where somebody else changed what is stored; see `Restore`. */
  async restore(letGo: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    await this.#exclusive(() => {
      const { managed, detached } = this.#held;
      const kept = new Map([...detached].filter(([key]) => !letGo.has(key)));
      return this.#save({ managed, detached: kept }, signal);
    });
  }

  async #save(next: Held, signal: AbortSignal): Promise<StoreRefusals> {
    try {
      const refusals = await this.#store.save(next, signal);
      if (refusals.size === 0) this.#held = next;
      return refusals;
    } catch (error) {
      // Some of it may be stored: what is there is what counts, where it can be read.
      this.#held = await this.#store.load(signal).catch(() => this.#held);
      throw error;
    }
  }

  /** What is stored of a push, when the store did not take all of it: each refusal is that of its resource alone. */
  async #withRefusals(push: Push, refusals: StoreRefusals): Promise<Result> {
    const upserts = new Set(push.upserts.map(({ name }) => (name ? keyOf(name) : "")));
    const [unasked] = [...refusals].filter(([key]) => !upserts.has(key));
    // A removal has no refusal on the wire: the session ends, and the push is sent again.
    if (unasked) throw unasked[1];
    const { next, result } = applyPush(this.#held, push, (resource) => {
      validateCertificate(resource);
      const refusal = refusals.get(keyOf(resource.name));
      if (refusal) throw refusal;
    });
    this.#held = next ?? this.#held;
    return result;
  }

  /** Changes follow one another: a push and a release never overwrite each other. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#busy.then(work);
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
