import type { ObjectMeta } from "../api/meta.ts";

/** A kind of object of an API server; a ResourceDefinition of common/api is one. */
export interface ResourceType {
  /** "group/version", or "v1" for the core group. */
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
}

/** What every object of an API server has; its other parts are for the reader to check. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** Which object or collection of a type. Without a namespace: cluster-scoped, or all namespaces. */
export interface ObjectPlace {
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: "status" | "eviction";
}

/** Path of an object or a collection below the API server's address. */
export function resourcePath({ apiVersion, plural }: ResourceType, place: ObjectPlace = {}): string {
  const { namespace, name, subresource } = place;
  const root = apiVersion.includes("/") ? "/apis" : "/api";
  const scope = namespace ? ["namespaces", namespace] : [];
  const steps = [...apiVersion.split("/"), ...scope, plural, name, subresource];
  return [root, ...steps.flatMap((step) => (step === undefined ? [] : encodeURIComponent(step)))].join("/");
}

/** "virtualmeshes gloo-mesh/virtual-mesh", for messages. */
export function describePlace({ plural }: ResourceType, { namespace, name }: ObjectPlace): string {
  return [plural, [namespace, name].filter(Boolean).join("/")].filter(Boolean).join(" ");
}
