import type { ObjectMeta } from "../api/meta.ts";
import type { KubeClient, KubeRequest } from "./client.ts";
import { describePlace, type KubeObject, resourcePath, type ResourceType } from "./resource-type.ts";

/** What to apply: the fields that this program wants to own, and no others. */
export interface Application {
  readonly type: ResourceType;
  /**
   * Names the object. With a `uid`, no other object of that name is touched, nor made; with a `resourceVersion`, only
   * the object as it was read.
   */
  readonly metadata: Pick<ObjectMeta, "name" | "namespace" | "uid" | "resourceVersion" | "labels" | "annotations">;
  /** The rest of the object: `{ spec }`, or `{ status }` for the subresource. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly subresource?: "status";
  /** Who owns the fields. A field applied before and left out now is removed, if nobody else owns it. */
  readonly fieldManager: string;
  /** True takes fields from other managers: right for what only this program can know, as a status. */
  readonly force?: boolean;
}

/**
 * Server-side apply; the answer is the object as stored. Without `subresource` a missing object is made. Throws
 * `conflict` when another manager owns a field and `force` is not set (its message names both), or the uid or the
 * resourceVersion is another one, `not_found` for the status of a missing object, and what `KubeClient.call` throws.
 */
export async function apply(client: KubeClient, application: Application, signal: AbortSignal): Promise<KubeObject> {
  const { type, metadata, fields, subresource, fieldManager, force = false } = application;
  const { apiVersion, kind } = type;
  const place = placeOf(metadata, subresource);
  const request: KubeRequest = {
    what: `apply ${subresource ? `${subresource} of ` : ""}${describePlace(type, place)}`,
    method: "PATCH",
    path: resourcePath(type, place),
    query: { fieldManager, force: String(force) },
    contentType: "application/apply-patch+yaml",
    body: { apiVersion, kind, metadata, ...fields },
  };
  return (await client.call(request, signal)) as KubeObject;
}

function placeOf({ name, namespace }: Pick<ObjectMeta, "name" | "namespace">, subresource?: "status") {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(subresource === undefined ? {} : { subresource }),
  };
}
