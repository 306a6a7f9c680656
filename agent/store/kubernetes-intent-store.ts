import { refKey } from "../../common/api/meta.ts";
import { createObject, deleteObject, readObject, replaceObject } from "../../common/kube/objects.ts";
import { listPage } from "../../common/kube/reflection.ts";
import { describePlace, type KubeObject, resourcePath } from "../../common/kube/resource-type.ts";
import { type ErrorCode, MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { Backoff } from "../../common/runtime/retry.ts";
import { keyOf, type WireResource } from "../../common/session/resource-set.ts";
import { NOTHING_HELD, type Detached, type Held } from "../apply/apply-machine.ts";
import type { IntentStore, Restore, StoreRefusals } from "../apply/intent-holder.ts";
import type { HeldCertificate } from "../certs/orders.ts";
import {
  certificateObject,
  type HeldAs,
  isAsDesired,
  isOurs,
  ISSUED_CERTIFICATES,
  readCertificate,
  withDesired,
} from "./certificate-object.ts";
import { type CertificateObjects, FIELD_MANAGER, type KubernetesContext } from "./kubernetes-context.ts";

interface Wanted {
  readonly resource: WireResource;
  readonly heldAs: HeldAs;
}

/** Of one object between what was read and what is written: each means that somebody else was faster. */
const ATTEMPTS = 8;
/** Who changes our objects again and again is answered ever more slowly. */
const RESTORE_BACKOFF = { baseMs: 500, capMs: 60_000 };
const CALM_MS = 2 * 60_000;

/** The API server said no to this one object; for all other faults it is not known what is stored. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set([
  "invalid_argument",
  "permission_denied",
  "conflict",
  "resource_invalid",
]);

/**
 * The intent as IssuedCertificate objects. Every replica follows them; the one that leads writes them, by versions, so
 * that a leader who does not know yet that he is none writes over nobody. An object of another owner is never touched.
 */
export class KubernetesIntentStore implements IntentStore {
  readonly certificates = new Latest<readonly HeldCertificate[]>();
  readonly #context: KubernetesContext;
  readonly #objects: CertificateObjects;
  #wanted: ReadonlyMap<string, Wanted> = new Map();
  #published = "";

  constructor(context: KubernetesContext, objects: CertificateObjects) {
    this.#context = context;
    this.#objects = objects;
  }

  /** Keeps `certificates` up to date until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    for await (const objects of this.#objects.watch(signal)) this.#publish(objects);
  }

  async load(signal: AbortSignal): Promise<Held> {
    const { client, owner, log } = this.#context;
    const place = { namespace: owner.namespace };
    const what = `list ${describePlace(ISSUED_CERTIFICATES, place)}`;
    const request = { what, method: "GET", path: resourcePath(ISSUED_CERTIFICATES, place) } as const;
    const { items } = listPage(await client.call(request, signal));
    const held = { managed: new Map<string, WireResource>(), detached: new Map<string, Detached>() };
    for (const object of (items as KubeObject[]).filter((item) => isOurs(item, owner))) {
      const stored = readCertificate(object);
      if (!stored) {
        log.warn("an IssuedCertificate of ours cannot be read; the server will send it again", nameField(object));
        continue;
      }
      const { resource, heldAs } = stored;
      if (heldAs === "managed") held.managed.set(keyOf(resource.name), resource);
      else held.detached.set(keyOf(resource.name), { resource, removed: heldAs === "released" });
    }
    this.#wanted = wantedOf(held);
    return held.managed.size + held.detached.size === 0 ? NOTHING_HELD : held;
  }

  async save(held: Held, signal: AbortSignal): Promise<StoreRefusals> {
    const before = this.#wanted;
    const wanted = new Map(wantedOf(held));
    const refusals = new Map<string, MeshError>();
    for (const [key, each] of wanted) {
      const refusal = await this.#write(each, before.get(key), signal);
      if (!refusal) continue;
      refusals.set(key, refusal);
      // What stood there before stands there still.
      const previous = before.get(key);
      if (previous) wanted.set(key, previous);
      else wanted.delete(key);
    }
    for (const [key, { resource }] of before) if (!wanted.has(key)) await this.#delete(resource, signal);
    this.#wanted = wanted;
    return refusals;
  }

  async guard(restore: Restore, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#context;
    const backoff = new Backoff({ ...RESTORE_BACKOFF, random });
    let lastMs = -Infinity;
    for await (const objects of this.#objects.watch(signal)) {
      if ([...this.#wanted.values()].every((wanted) => this.#stands(wanted, objects))) continue;
      if (clock.now() - lastMs > CALM_MS) backoff.reset();
      lastMs = clock.now();
      try {
        await restore(await this.#letGo(signal));
      } catch (thrown) {
        if (!signal.aborted) log.warn("IssuedCertificates cannot be written back", { err: MeshError.from(thrown) });
      }
      await clock.sleep(backoff.next(), signal).catch(() => undefined);
    }
  }

  /** Detached certificates that somebody deleted: that is how an operator ends them. A managed one is made again. */
  async #letGo(signal: AbortSignal): Promise<ReadonlySet<string>> {
    const missing = [...this.#wanted].filter(([, { resource, heldAs }]) => {
      return heldAs !== "managed" && !this.#objects.value?.has(refKey(resource.name));
    });
    const letGo = new Set<string>();
    for (const [key, { resource }] of missing) {
      // The copy may lag: an object that was just made is not one that was deleted.
      const found = await readObject(this.#context.client, ISSUED_CERTIFICATES, resource.name, signal);
      if (found) continue;
      letGo.add(key);
      this.#context.log.warn("a detached IssuedCertificate was deleted; letting it go", {
        certificate: refKey(resource.name),
      });
    }
    return letGo;
  }

  /** True when the copy of the objects has it as it shall be. */
  #stands({ resource, heldAs }: Wanted, objects: ReadonlyMap<string, KubeObject>): boolean {
    const found = objects.get(refKey(resource.name));
    return found !== undefined && isAsDesired(found, certificateObject(resource, heldAs, this.#context.owner));
  }

  async #write(wanted: Wanted, before: Wanted | undefined, signal: AbortSignal): Promise<MeshError | undefined> {
    const isNews = before?.heldAs !== wanted.heldAs || before.resource.version !== wanted.resource.version;
    if (!isNews && this.#stands(wanted, this.#objects.value ?? new Map())) return undefined;
    try {
      const isWritten = await this.#writeObject(wanted, signal);
      if (isWritten && !isNews) {
        this.#context.log.warn("an IssuedCertificate was changed by somebody else; written back", {
          certificate: refKey(wanted.resource.name),
        });
      }
      return undefined;
    } catch (thrown) {
      const error = MeshError.from(thrown);
      if (signal.aborted || !REFUSALS.has(error.code)) throw error;
      const { code, message, hint } = error;
      return new MeshError(code, message, { retriable: code !== "resource_invalid", ...(hint && { hint }) });
    }
  }

  /** Returns whether there was something to write. */
  async #writeObject({ resource, heldAs }: Wanted, signal: AbortSignal): Promise<boolean> {
    const { client, owner } = this.#context;
    if (resource.name.namespace !== owner.namespace) throw elsewhere(resource, owner.namespace);
    const desired = certificateObject(resource, heldAs, owner);
    const writing = { type: ISSUED_CERTIFICATES, fieldManager: FIELD_MANAGER };
    for (let attempt = 1; ; attempt++) {
      const found = await readObject(client, ISSUED_CERTIFICATES, resource.name, signal);
      if (found && !isOurs(found, owner)) throw foreign(resource);
      if (found && isAsDesired(found, desired)) return false;
      try {
        if (found) await replaceObject(client, { ...writing, object: withDesired(found, desired) }, signal);
        else await createObject(client, { ...writing, object: desired }, signal);
        return true;
      } catch (thrown) {
        const { code } = MeshError.from(thrown);
        // Changed, made or deleted since it was read.
        if (attempt >= ATTEMPTS || (code !== "conflict" && code !== "not_found")) throw thrown;
      }
    }
  }

  async #delete({ name }: WireResource, signal: AbortSignal): Promise<void> {
    const { client, owner, log } = this.#context;
    for (let attempt = 1; ; attempt++) {
      const found = await readObject(client, ISSUED_CERTIFICATES, name, signal);
      if (!found || !isOurs(found, owner)) return;
      try {
        await deleteObject(client, ISSUED_CERTIFICATES, found, signal);
        log.info("IssuedCertificate let go", nameField(found));
        return;
      } catch (thrown) {
        if (attempt >= ATTEMPTS || MeshError.from(thrown).code !== "conflict") throw thrown;
      }
    }
  }

  /** A status changes often, and what is held seldom: only the latter is news for istiods. */
  #publish(objects: ReadonlyMap<string, KubeObject>): void {
    const ours = [...objects.values()].filter((object) => isOurs(object, this.#context.owner));
    const stored = ours.flatMap((object) => readCertificate(object) ?? []);
    const identity = JSON.stringify(stored.map(({ resource, heldAs }) => [resource.name, resource.version, heldAs]));
    if (identity === this.#published) return;
    this.#published = identity;
    this.certificates.set(
      stored.map(({ certificate, resource, heldAs }) => ({
        certificate,
        version: Buffer.from(resource.version, "hex"),
        detached: heldAs !== "managed",
      })),
    );
  }
}

function wantedOf({ managed, detached }: Held): Map<string, Wanted> {
  const heldAs = (removed: boolean): HeldAs => (removed ? "released" : "detached");
  return new Map([
    ...[...managed].map(([key, resource]) => [key, { resource, heldAs: "managed" }] as const),
    ...[...detached].map(([key, { resource, removed }]) => [key, { resource, heldAs: heldAs(removed) }] as const),
  ]);
}

const nameField = ({ metadata }: KubeObject) => ({ certificate: refKey(metadata) });

const elsewhere = ({ name }: WireResource, namespace: string): MeshError =>
  new MeshError("resource_invalid", `${refKey(name)}: this agent keeps its certificates in namespace ${namespace}`);

const foreign = ({ name }: WireResource): MeshError =>
  new MeshError("conflict", `IssuedCertificate ${refKey(name)} exists, and this agent did not make it`, {
    hint: "delete or rename it; the agent touches only what carries its label agent.certificates.mesh.gloo.solo.io",
  });
