import { MeshError } from "../runtime/errors.ts";
import type { KubeClient } from "./client.ts";
import { describePlace, type KubeObject, type ObjectPlace, resourcePath, type ResourceType } from "./resource-type.ts";

/** Which object. */
export interface ObjectName extends ObjectPlace {
  readonly name: string;
}

/** The object as it is stored now, or undefined where there is none. Throws what `KubeClient.call` throws. */
export async function readObject(
  client: Pick<KubeClient, "call">,
  type: ResourceType,
  place: ObjectName,
  signal: AbortSignal,
): Promise<KubeObject | undefined> {
  const what = `read ${describePlace(type, place)}`;
  try {
    return (await client.call({ what, method: "GET", path: resourcePath(type, place) }, signal)) as KubeObject;
  } catch (thrown) {
    if (MeshError.from(thrown).code === "not_found") return undefined;
    throw thrown;
  }
}

/** What to write of an object, and as whom. */
export interface Writing {
  readonly type: ResourceType;
  /** Whole, but for `apiVersion` and `kind`, which `type` names. */
  readonly object: KubeObject | (Pick<KubeObject, "metadata"> & Readonly<Record<string, unknown>>);
  readonly subresource?: "status";
  readonly fieldManager: string;
}

/** Makes the object; the answer is as stored. Throws `conflict` where there is one of that name. */
export async function createObject(client: KubeClient, writing: Writing, signal: AbortSignal): Promise<KubeObject> {
  const { namespace } = writing.object.metadata;
  return write(client, writing, { method: "POST", place: namespace === undefined ? {} : { namespace } }, signal);
}

/**
 * Replaces the object if it still is what was read: `metadata.resourceVersion` must be set. The answer is as stored.
 * Throws `conflict` when somebody changed it meanwhile, `not_found` when it is gone.
 */
export async function replaceObject(client: KubeClient, writing: Writing, signal: AbortSignal): Promise<KubeObject> {
  const { name, namespace, resourceVersion } = writing.object.metadata;
  if (!resourceVersion) throw new MeshError("internal", `replacing ${name} without the version that was read`);
  const place = { name, ...(namespace !== undefined && { namespace }) };
  const { subresource } = writing;
  return write(client, writing, { method: "PUT", place: { ...place, ...(subresource && { subresource }) } }, signal);
}

async function write(
  client: KubeClient,
  { type, object, fieldManager }: Writing,
  { method, place }: { method: "POST" | "PUT"; place: ObjectPlace },
  signal: AbortSignal,
): Promise<KubeObject> {
  const { apiVersion, kind } = type;
  const { name, namespace } = object.metadata;
  const verb = method === "POST" ? "create" : `replace ${place.subresource ? `${place.subresource} of ` : ""}`.trim();
  const request = {
    what: `${verb} ${describePlace(type, { name, ...(namespace !== undefined && { namespace }) })}`,
    method,
    path: resourcePath(type, place),
    query: { fieldManager },
    body: { ...object, apiVersion, kind },
  };
  return (await client.call(request, signal)) as KubeObject;
}

/** Changes these fields and no others, whatever the rest is by now (RFC 7396: null removes one). */
export async function mergeObject(
  client: KubeClient,
  { type, place, patch, fieldManager }: { type: ResourceType; place: ObjectName; patch: object; fieldManager: string },
  signal: AbortSignal,
): Promise<KubeObject> {
  const request = {
    what: `change ${describePlace(type, place)}`,
    method: "PATCH",
    path: resourcePath(type, place),
    query: { fieldManager },
    contentType: "application/merge-patch+json",
    body: patch,
  } as const;
  return (await client.call(request, signal)) as KubeObject;
}

/**
 * Deletes this very object, if it still is as it was read: another one of that name stays, and so does one that
 * somebody changed (`conflict`). One that is gone already is fine.
 */
export async function deleteObject(
  client: KubeClient,
  type: ResourceType,
  { metadata }: Pick<KubeObject, "metadata">,
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace, uid, resourceVersion } = metadata;
  const place = { name, ...(namespace !== undefined && { namespace }) };
  const request = {
    what: `delete ${describePlace(type, place)}`,
    method: "DELETE",
    path: resourcePath(type, place),
    body: { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid, resourceVersion } },
  } as const;
  try {
    await client.call(request, signal);
  } catch (thrown) {
    if (MeshError.from(thrown).code !== "not_found") throw thrown;
  }
}
