import type { Held } from "../../agent/apply/apply-machine.ts";
import { certificatesOf, type IntentStore, type StoreRefusals } from "../../agent/apply/intent-holder.ts";
import type { HeldCertificate } from "../../agent/certs/orders.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { WireResource } from "../../common/session/resource-set.ts";
import { kindOf } from "./catalog.ts";
import type { Dice } from "./dice.ts";
import type { SimProcess } from "./process.ts";

type HeldAs = "managed" | "removed" | "absent";

interface Stored {
  readonly resource: WireResource;
  readonly heldAs: HeldAs;
}

/** Where an agent's intent lies, over all its lives: a file that is replaced whole, or one object for each certificate. */
export class Disk {
  /** False: a document. True: objects, one request each, that the cluster may refuse. */
  readonly isObjects: boolean;
  /** Most that a request takes. */
  latencyMs: number;
  /** Share of requests that fail. */
  failures = 0;
  /** The cluster refuses what it takes only when all is well. */
  refusesLater = true;
  #objects: ReadonlyMap<string, Stored> = new Map();
  readonly #onChange: (before: Held, after: Held) => void;

  constructor(isObjects: boolean, latencyMs: number, onChange: (before: Held, after: Held) => void) {
    this.isObjects = isObjects;
    this.latencyMs = latencyMs;
    this.#onChange = onChange;
  }

  get held(): Held {
    return heldOf(this.#objects);
  }

  /** Somebody copies it. */
  copy(): Disk {
    const copy = new Disk(this.isObjects, this.latencyMs, this.#onChange);
    copy.#objects = this.#objects;
    return copy;
  }

  at(key: string): Stored | undefined {
    return this.#objects.get(key);
  }

  replace(objects: ReadonlyMap<string, Stored>): void {
    const before = this.held;
    this.#objects = objects;
    this.#onChange(before, this.held);
  }

  set(key: string, stored: Stored | undefined): void {
    const objects = new Map(this.#objects);
    if (stored) objects.set(key, stored);
    else objects.delete(key);
    this.replace(objects);
  }

  /** Why the cluster does not take a version. */
  refusal(version: string): MeshError | undefined {
    const kind = kindOf(version);
    if (kind === "never") return new MeshError("permission_denied", "refused by a policy");
    if (kind === "later" && this.refusesLater) return new MeshError("unavailable", "a webhook is away");
    return undefined;
  }
}

/** What one life of the agent has of its disk. */
export class DiskStore implements IntentStore {
  readonly certificates = new Latest<readonly HeldCertificate[]>();
  readonly #disk: Disk;
  readonly #process: SimProcess;
  readonly #dice: Dice;
  /** As it was read or written last: what else lies there is not touched. */
  #wanted: ReadonlyMap<string, Stored> = new Map();

  constructor(disk: Disk, process: SimProcess, dice: Dice) {
    this.#disk = disk;
    this.#process = process;
    this.#dice = dice;
  }

  async load(signal: AbortSignal): Promise<Held> {
    const held = await this.#request(() => this.#disk.held, signal);
    this.#wanted = storedOf(held);
    return held;
  }

  async save(held: Held, signal: AbortSignal): Promise<StoreRefusals> {
    const refusals = new Map<string, MeshError>();
    const wanted = storedOf(held);
    if (!this.#disk.isObjects) await this.#request(() => this.#disk.replace(wanted), undefined);
    else await this.#saveObjects(wanted, refusals, signal);
    this.certificates.set(certificatesOf(this.#disk.held));
    return refusals;
  }

  guard(): Promise<void> {
    return Promise.resolve();
  }

  async #saveObjects(
    wanted: Map<string, Stored>,
    refusals: Map<string, MeshError>,
    signal: AbortSignal,
  ): Promise<void> {
    const before = this.#wanted;
    for (const [key, stored] of wanted) {
      const refusal = await this.#write(key, stored, signal);
      if (!refusal) continue;
      refusals.set(key, refusal);
      const previous = before.get(key);
      if (previous) wanted.set(key, previous);
      else wanted.delete(key);
    }
    for (const key of before.keys()) if (!wanted.has(key)) await this.#write(key, undefined, signal);
    this.#wanted = wanted;
  }

  /** By compare-and-swap: a request that was given up and arrives late changes nothing that was changed since. */
  async #write(key: string, stored: Stored | undefined, signal: AbortSignal): Promise<MeshError | undefined> {
    for (;;) {
      const seen = this.#disk.at(key);
      if (isSame(seen, stored)) return undefined;
      const isNew = stored !== undefined && seen?.resource.version !== stored.resource.version;
      const refusal = isNew ? this.#disk.refusal(stored.resource.version) : undefined;
      if (refusal) return refusal;
      const isDone = await this.#request(() => {
        if (this.#disk.at(key) !== seen) return false;
        this.#disk.set(key, stored);
        return true;
      }, signal);
      if (isDone) return undefined;
    }
  }

  async #request<T>(effect: () => T, signal: AbortSignal | undefined): Promise<T> {
    signal?.throwIfAborted();
    if (this.#dice.chance(this.#disk.failures)) {
      await this.#process.io(() => undefined, this.#disk.latencyMs);
      throw new MeshError("unavailable", "the disk does not answer");
    }
    const answer = this.#process.io(effect, this.#disk.latencyMs);
    if (!signal) return answer;
    const given = Promise.withResolvers<never>();
    const abort = (): void => given.reject(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([answer, given.promise]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }
}

const isSame = (a: Stored | undefined, b: Stored | undefined): boolean =>
  a?.resource.version === b?.resource.version && a?.heldAs === b?.heldAs;

function storedOf({ managed, detached }: Held): Map<string, Stored> {
  const stored = new Map<string, Stored>();
  for (const [key, resource] of managed) stored.set(key, { resource, heldAs: "managed" });
  for (const [key, { resource, removed }] of detached) {
    stored.set(key, { resource, heldAs: removed ? "removed" : "absent" });
  }
  return stored;
}

function heldOf(objects: ReadonlyMap<string, Stored>): Held {
  const held = {
    managed: new Map<string, WireResource>(),
    detached: new Map<string, { resource: WireResource; removed: boolean }>(),
  };
  for (const [key, { resource, heldAs }] of objects) {
    if (heldAs === "managed") held.managed.set(key, resource);
    else held.detached.set(key, { resource, removed: heldAs === "removed" });
  }
  return held;
}
