import { isDeepStrictEqual } from "node:util";
import { definitionOf } from "../../common/api/schema.ts";
import { apply } from "../../common/kube/apply.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";

/**
 * Who owns which part of a status: the leader what applies and what is folded of it, the replica that holds a session what
 * its agent says, and the one that discovers what it found. None of them can take away what another one wrote.
 */
export type StatusManager =
  "enterprise-networking" | "enterprise-networking-session" | "enterprise-networking-discovery";

export interface StatusWriterOptions {
  readonly client: KubeClient;
  readonly manager: StatusManager;
  /** Write only to the object as it was read: what was decided must not stand on what is old. */
  readonly asRead?: boolean;
}

/** Writes one manager's part of the status of objects of ours. */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  /** What was written to this very version of an object, whose successor the watch has not brought yet. */
  readonly #written = new WeakMap<KubeObject, object>();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /**
   * Writes the part, whole: a field that is not in it any more is removed. True when it was written; false for what was
   * written already, and for an object that is gone, was made anew or has changed, which the watch is about to say.
   */
  async write(object: KubeObject, status: object, signal: AbortSignal): Promise<boolean> {
    const { client, manager, asRead = false } = this.#options;
    const { namespace, name, uid, resourceVersion } = object.metadata;
    if (isDeepStrictEqual(this.#written.get(object), status)) return false;
    const metadata = {
      name,
      ...(namespace !== undefined && { namespace }),
      ...(uid !== undefined && { uid }),
      ...(asRead && resourceVersion !== undefined && { resourceVersion }),
    };
    const type = definitionOf(object.apiVersion, object.kind);
    const application = { type, metadata, fields: { status }, subresource: "status" } as const;
    try {
      await apply(client, { ...application, fieldManager: manager, force: true }, signal);
    } catch (thrown) {
      if (["not_found", "conflict"].includes(MeshError.from(thrown).code)) return false;
      throw thrown;
    }
    this.#written.set(object, status);
    return true;
  }
}
