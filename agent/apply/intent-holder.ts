import { IssuedCertificate, type ResourceName } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Push, Result } from "../../proto/gen/relay/v1/relay.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { ISSUED_CERTIFICATE, keyOf, type WireResource } from "../../common/session/resource-set.ts";
import type { HeldCertificate } from "../certs/orders.ts";
import { applyPush, heldDigest, releaseUnused, type Held } from "./apply-machine.ts";

/** Where the set survives a restart: the one seam between the two homes. */
export interface IntentStore {
  /** What was stored last; nothing before the first time. */
  load(): Promise<Held>;
  save(held: Held): Promise<void>;
}

/** Holds the intent of the cluster: stores each change before it is acknowledged, and hands it on. */
export class IntentHolder {
  readonly certificates = new Latest<readonly HeldCertificate[]>();
  readonly #store: IntentStore;
  #held: Held;
  #busy: Promise<unknown> = Promise.resolve();

  private constructor(store: IntentStore, held: Held) {
    this.#store = store;
    this.#held = held;
    this.#publish();
  }

  /** Loads what was stored: the last intent is in force before any server was reached. */
  static async open(store: IntentStore): Promise<IntentHolder> {
    return new IntentHolder(store, await store.load());
  }

  digest(): Buffer {
    return heldDigest(this.#held);
  }

  /** Stores what a push changes; the result may be sent when the promise resolves. */
  async apply(push: Push): Promise<Result> {
    return this.#exclusive(async () => {
      if (push.type !== ISSUED_CERTIFICATE) {
        throw new MeshError("unimplemented", `resource type ${push.type} is not known to this agent`);
      }
      const { result, next } = applyPush(this.#held, push, validateCertificate);
      if (next) await this.#replace(next);
      return result;
    });
  }

  /** Lets go of detached certificates that were removed on purpose and that no istiod uses any more. */
  async release(isUsed: (name: ResourceName) => boolean): Promise<void> {
    await this.#exclusive(async () => {
      const next = releaseUnused(this.#held, (key) => {
        const name = this.#held.detached.get(key)?.resource.name;
        return name !== undefined && isUsed(name);
      });
      if (next) await this.#replace(next);
    });
  }

  async #replace(next: Held): Promise<void> {
    await this.#store.save(next);
    this.#held = next;
    this.#publish();
  }

  #publish(): void {
    const { managed, detached } = this.#held;
    this.certificates.set([
      ...[...managed.values()].map((resource) => toHeld(resource, false)),
      ...[...detached.values()].map(({ resource }) => toHeld(resource, true)),
    ]);
  }

  /** Changes follow one another: a push and a release never overwrite each other. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#busy.then(work);
    this.#busy = result.catch(() => undefined);
    return result;
  }
}

function toHeld({ content, version }: WireResource, detached: boolean): HeldCertificate {
  return { certificate: IssuedCertificate.decode(content), version: Buffer.from(version, "hex"), detached };
}

/** Refuses what could not be obeyed, with the reason: the version before it then stays in force. */
export function validateCertificate({ name, content }: WireResource): void {
  let certificate: IssuedCertificate;
  try {
    certificate = IssuedCertificate.decode(content);
  } catch (cause) {
    throw new MeshError("resource_invalid", `${name.namespace}/${name.name}: content cannot be decoded`, { cause });
  }
  const label = `${name.namespace}/${name.name}`;
  const refuse = (reason: string): never => {
    throw new MeshError("resource_invalid", `${label}: ${reason}`);
  };
  if (!name.name || !certificate.name || keyOf(certificate.name) !== keyOf(name))
    refuse("content names another resource");
  if (!certificate.installation?.namespace) refuse("installation.namespace is missing");
  if (certificate.hosts.length === 0) refuse("hosts is empty");
  if (certificate.certificateAuthority?.$case !== "vault")
    refuse("this agent knows vault as certificate authority only");
}
