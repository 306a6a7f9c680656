import { isDeepStrictEqual } from "node:util";
import { refKey } from "../../common/api/meta.ts";
import { findDefinition } from "../../common/api/schema.ts";
import { apply } from "../../common/kube/apply.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { Backoff } from "../../common/runtime/retry.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import type { MeshesStatus } from "../admin/services.ts";

/** Who owns the fields of the status. */
const FIELD_MANAGER = "enterprise-networking";
const BACKOFF = { baseMs: 500, capMs: 30_000 };

export interface KubernetesStatusOptions {
  readonly client: KubeClient;
  /** The VirtualMeshes as the API server has them, by `refKey`. */
  readonly objects: Latest<ReadonlyMap<string, KubeObject>>;
  readonly statuses: Latest<MeshesStatus>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Writes the status of each VirtualMesh to its object, when it changed. */
export class KubernetesStatus {
  readonly #options: KubernetesStatusOptions;
  readonly #dirty = new Latest<number>(0);
  readonly #backoff: Backoff;
  /** What was written last, by uid: the API server may store it in another form, or show it late. */
  readonly #written = new Map<string, unknown>();

  constructor(options: KubernetesStatusOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ ...BACKOFF, random: options.random });
  }

  /** Writes until `signal` is aborted. A write that failed is repeated, with the newest status. */
  async run(signal: AbortSignal): Promise<void> {
    const { objects, statuses } = this.#options;
    const follow = (cell: Latest<unknown>) => async (stop: AbortSignal) => {
      for await (const _ of cell.watch(stop)) this.#touch();
    };
    await runTasks(signal, {
      objects: follow(objects),
      statuses: follow(statuses),
      write: (stop) => this.#follow(stop),
    });
  }

  #touch(): void {
    this.#dirty.set((this.#dirty.value ?? 0) + 1);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const _ of this.#dirty.watch(signal)) {
      const error = await this.#writeAll(signal);
      if (!error) {
        this.#backoff.reset();
        continue;
      }
      await this.#options.clock.sleep(this.#backoff.next(error.retryAfterMs), signal).catch(() => undefined);
      this.#touch();
    }
  }

  /** The first error, after all were tried. */
  async #writeAll(signal: AbortSignal): Promise<MeshError | undefined> {
    const { objects, statuses, log } = this.#options;
    const virtualMeshes = statuses.value?.virtualMeshes ?? [];
    const uids = new Set([...(objects.value?.values() ?? [])].map(({ metadata }) => metadata.uid));
    for (const uid of this.#written.keys()) if (!uids.has(uid)) this.#written.delete(uid);
    let first: MeshError | undefined;
    for (const { name, status } of virtualMeshes) {
      const object = name && objects.value?.get(refKey(name));
      // One that vanished stays in force, and has no place for a status: it is seen by `meshctl` and the admin API.
      if (!object) continue;
      try {
        await this.#write(object, status, signal);
      } catch (thrown) {
        const error = MeshError.from(thrown);
        first ??= error;
        if (!signal.aborted) log.warn("status cannot be written", { virtualMesh: refKey(name), err: error });
      }
    }
    return first;
  }

  async #write(object: KubeObject, status: unknown, signal: AbortSignal): Promise<void> {
    const { namespace, name, uid = "" } = object.metadata;
    const stored = (object as KubeObject & { readonly status?: unknown }).status;
    if (isDeepStrictEqual(status, stored) || isDeepStrictEqual(status, this.#written.get(uid))) return;
    const metadata = { name, uid, ...(namespace === undefined ? {} : { namespace }) };
    const type = findDefinition(object.apiVersion, object.kind);
    if (!type) return;
    const application = {
      type,
      metadata,
      fields: { status },
      subresource: "status",
      fieldManager: FIELD_MANAGER,
    } as const;
    try {
      await apply(this.#options.client, { ...application, force: true }, signal);
    } catch (thrown) {
      // Deleted, or made anew under its name: the reflector is about to say so.
      if (!["not_found", "conflict"].includes(MeshError.from(thrown).code)) throw thrown;
      return;
    }
    this.#written.set(uid, status);
  }
}
