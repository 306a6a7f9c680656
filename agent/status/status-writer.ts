import type { IssuedCertificate } from "../../common/api/certificates.ts";
import { refKey } from "../../common/api/meta.ts";
import { replaceObject } from "../../common/kube/objects.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { Backoff } from "../../common/runtime/retry.ts";
import { isOurs, ISSUED_CERTIFICATES, readCertificate, type StoredCertificate } from "../store/certificate-object.ts";
import { type CertificateObjects, type KubernetesContext, replicaManager } from "../store/kubernetes-context.ts";
import { nextStatus, type StatusView } from "./entries.ts";
import { WriteBudget } from "./write-budget.ts";

export interface StatusWriterOptions {
  readonly context: KubernetesContext;
  readonly objects: CertificateObjects;
  /** What else the status is made of. */
  readonly causes: readonly Latest<unknown>[];
  /** Called before each look at the objects. */
  readonly prepare: (objects: ReadonlyMap<string, KubeObject>) => void;
  readonly viewOf: (stored: StoredCertificate) => StatusView;
}

/** What this process did to one object. */
interface Written {
  readonly budget: WriteBudget;
  readonly backoff: Backoff;
  notBeforeMs: number;
  /** The version that our last write replaced, and what the API server made of it: the copy lags behind. */
  last: { readonly replaced: string | undefined; readonly object: KubeObject } | undefined;
  /** The fault that was logged last. */
  told: string;
}

/** Changes this close together become one write. */
const PACE_MS = 100;
const BACKOFF = { baseMs: 250, capMs: 15_000 };

/**
 * Keeps the status of the IssuedCertificates as `nextStatus` wants it. Each write replaces the version that it was made
 * of, so that nothing that another replica wrote meanwhile is lost; who was too late looks at the newer version.
 */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #written = new Map<string, Written>();
  readonly #again = new Latest(0);
  #wakeAtMs = Infinity;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** Writes until `signal` is aborted. Every fault is waited out. */
  async run(signal: AbortSignal): Promise<void> {
    const { objects, causes, context } = this.#options;
    const changes = Latest.changes([objects, this.#again, ...causes], signal);
    while ((await changes.next()).done !== true) {
      const waitMs = await this.#pass(signal);
      if (waitMs !== undefined) this.#wakeAfter(waitMs, signal);
      await context.clock.sleep(PACE_MS, signal).catch(() => undefined);
    }
  }

  #wakeAfter(ms: number, signal: AbortSignal): void {
    const { clock } = this.#options.context;
    const atMs = clock.now() + ms;
    if (this.#wakeAtMs <= atMs) return;
    this.#wakeAtMs = atMs;
    const wake = (): void => {
      if (this.#wakeAtMs !== atMs) return;
      this.#wakeAtMs = Infinity;
      this.#again.set(atMs);
    };
    clock.sleep(ms, signal).then(wake, () => undefined);
  }

  /** Looks at each object once; returns after how many milliseconds it must be looked at again, if nothing changes. */
  async #pass(signal: AbortSignal): Promise<number | undefined> {
    const { objects, context, prepare } = this.#options;
    const copies = objects.value ?? new Map<string, KubeObject>();
    prepare(copies);
    const waits: number[] = [];
    for (const copy of copies.values()) {
      if (signal.aborted) return undefined;
      if (!isOurs(copy, context.owner)) continue;
      const waitMs = await this.#lookAt(copy, signal);
      if (waitMs !== undefined) waits.push(waitMs);
    }
    for (const key of this.#written.keys()) if (!copies.has(key)) this.#written.delete(key);
    return waits.length > 0 ? Math.min(...waits) : undefined;
  }

  async #lookAt(copy: KubeObject, signal: AbortSignal): Promise<number | undefined> {
    const { context, viewOf } = this.#options;
    const stored = readCertificate(copy);
    if (!stored) return undefined;
    const written = this.#writtenOf(copy);
    const { last } = written;
    const object = last && last.replaced === copy.metadata.resourceVersion ? last.object : copy;
    const status = nextStatus(object as IssuedCertificate, stored, viewOf(stored));
    if (!status) return undefined;
    const nowMs = context.clock.now();
    if (nowMs < written.notBeforeMs) return written.notBeforeMs - nowMs;
    const waitMs = written.budget.take(nowMs);
    if (waitMs > 0) return waitMs;
    return this.#write({ copy, object, status, written }, signal);
  }

  async #write(
    { copy, object, status, written }: { copy: KubeObject; object: KubeObject; status: object; written: Written },
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { client, replica, clock, log } = this.#options.context;
    const writing = {
      type: ISSUED_CERTIFICATES,
      object: { ...object, status },
      subresource: "status",
      fieldManager: replicaManager(replica),
    } as const;
    try {
      const answer = await replaceObject(client, writing, signal);
      written.last = { replaced: copy.metadata.resourceVersion, object: answer };
      written.backoff.reset();
      written.told = "";
      return undefined;
    } catch (thrown) {
      const err = MeshError.from(thrown);
      if (signal.aborted) return undefined;
      const waitMs = written.backoff.next(PACE_MS);
      written.notBeforeMs = clock.now() + waitMs;
      // Somebody was faster, and the watch is about to say so: that is how several write one object.
      const isRace = err.code === "conflict" || err.code === "not_found";
      const certificate = refKey(copy.metadata);
      if (!isRace && err.message !== written.told) log.warn("status cannot be written", { certificate, err });
      if (!isRace) written.told = err.message;
      return waitMs;
    }
  }

  #writtenOf({ metadata }: KubeObject): Written {
    const key = refKey(metadata);
    const known = this.#written.get(key);
    if (known) return known;
    const { random } = this.#options.context;
    const fresh = { budget: new WriteBudget(), backoff: new Backoff({ ...BACKOFF, random }) };
    const made: Written = { ...fresh, notBeforeMs: 0, last: undefined, told: "" };
    this.#written.set(key, made);
    return made;
  }
}
