import { refKey } from "../api/meta.ts";
import { MeshError } from "../runtime/errors.ts";
import { refusalError } from "./errors.ts";
import type { KubeObject, ResourceType } from "./resource-type.ts";

/** What an API server answers to a list, as far as it is read. */
export interface ListPage {
  readonly items: readonly unknown[];
  readonly resourceVersion: string;
  /** Token for the next page; undefined on the last one. */
  readonly continueToken: string | undefined;
}

/** An object as the API server gives it, before anything is left out. */
export interface WholeObject extends KubeObject {
  readonly metadata: KubeObject["metadata"] & { readonly managedFields?: readonly ManagedFields[] };
}

/** Who set which fields, and when the value of one of them was changed last. */
export interface ManagedFields {
  readonly manager?: string;
  readonly operation?: string;
  /** RFC 3339, whole seconds, by the API server's clock. */
  readonly time?: string;
  readonly fieldsV1?: unknown;
}

/** What of an object is worth its memory: a smaller one, or undefined for one that nobody reads. */
export type Keep = (object: WholeObject) => KubeObject | undefined;

/** All but managedFields, which is the greater half of many objects. */
const keepAll: Keep = (object) => {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
};

/**
 * A copy of a collection, made of a list and the events that follow it. It decides only: the same inputs give the same
 * copy, and nothing is done here. Events are whole objects, so that one that comes twice does no harm.
 */
export class Reflection {
  readonly #type: ResourceType;
  readonly #keep: Keep;
  #objects = new Map<string, KubeObject>();
  #version: string | undefined;

  constructor(type: ResourceType, keep: Keep = keepAll) {
    this.#type = type;
    this.#keep = keep;
  }

  /** From where to watch; undefined when the collection must be listed first. */
  get resourceVersion(): string | undefined {
    return this.#version;
  }

  /** What is kept of a page of a list. Throws `unavailable` for what is no object. */
  read(items: readonly unknown[]): KubeObject[] {
    return items.flatMap((item) => this.#keep(this.#objectOf(item)) ?? []);
  }

  /** Takes the place of all that was known: what is not listed is gone. */
  list(objects: readonly KubeObject[], resourceVersion: string): void {
    this.#objects = new Map(objects.map((object) => [refKey(object.metadata), object]));
    this.#version = resourceVersion;
  }

  /**
   * Takes one event of a watch; true when it changed the collection. Throws when the watch is of no more use: what an
   * ERROR event says, `unavailable` for what is no event. Then the collection must be listed again.
   */
  event(type: string, object: unknown): boolean {
    if (type === "ERROR") {
      this.expire();
      const { code } = fieldsOf(object);
      throw refusalError(`watch ${this.#type.plural}`, typeof code === "number" ? code : 500, object);
    }
    if (type === "BOOKMARK") {
      const { resourceVersion } = fieldsOf(fieldsOf(object)["metadata"]);
      if (typeof resourceVersion === "string") this.#version = resourceVersion;
      return false;
    }
    const whole = this.#objectOf(object);
    const key = refKey(whole.metadata);
    const known = this.#objects.get(key);
    this.#version = whole.metadata.resourceVersion ?? this.#version;
    if (type === "DELETED") return this.#objects.delete(key);
    if (type !== "ADDED" && type !== "MODIFIED") throw this.#malformed(`event of type ${type}`);
    const kept = this.#keep(whole);
    if (!kept) return this.#objects.delete(key);
    this.#objects.set(key, kept);
    return known?.metadata.resourceVersion !== whole.metadata.resourceVersion;
  }

  /** Makes the next step a list. What is known stays: it is old, and better than nothing. */
  expire(): void {
    this.#version = undefined;
  }

  /** The collection now, by `refKey`; later events do not change it. */
  snapshot(): ReadonlyMap<string, KubeObject> {
    return new Map(this.#objects);
  }

  #objectOf(value: unknown): WholeObject {
    const metadata = fieldsOf(fieldsOf(value)["metadata"]);
    if (typeof metadata["name"] !== "string") throw this.#malformed("object without a name");
    const { apiVersion, kind } = this.#type;
    // Items of a list of a built-in type do not say what they are.
    return { ...fieldsOf(value), apiVersion, kind, metadata: metadata as unknown as WholeObject["metadata"] };
  }

  #malformed(what: string): MeshError {
    this.expire();
    return new MeshError("unavailable", `api server sent an ${what} among ${this.#type.plural}`);
  }
}

/** Reads the answer to a list. Throws `unavailable` when it is none. */
export function listPage(body: unknown): ListPage {
  const { items, metadata } = fieldsOf(body);
  const { resourceVersion, continue: token } = fieldsOf(metadata);
  if (typeof resourceVersion !== "string" || (items !== null && !Array.isArray(items))) {
    throw new MeshError("unavailable", "api server's answer is no list");
  }
  return {
    items: (items ?? []) as unknown[],
    resourceVersion,
    continueToken: typeof token === "string" && token !== "" ? token : undefined,
  };
}

const fieldsOf = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
