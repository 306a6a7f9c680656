import type { MeshError } from "../runtime/errors.ts";
import type { Latest } from "../runtime/latest.ts";
import type { WholeObject } from "./reflection.ts";
import { Reflector, type ReflectorOptions } from "./reflector.ts";
import type { KubeObject } from "./resource-type.ts";

export interface CollectionOptions<T> extends Omit<ReflectorOptions, "keep"> {
  /** What is read of an object; undefined for one that is not of interest. Must not throw. */
  readonly read: (object: WholeObject) => T | undefined;
}

interface Kept<T> extends KubeObject {
  readonly value: T;
}

/** A collection of an API server, and of each object only what was read of it: the rest is not held in memory. */
export class Collection<T> {
  readonly #reflector: Reflector;

  constructor({ read, ...options }: CollectionOptions<T>) {
    const keep = (object: WholeObject): Kept<T> | undefined => {
      const value = read(object);
      if (value === undefined) return undefined;
      const { apiVersion, kind, metadata } = object;
      const { name, namespace, resourceVersion } = metadata;
      const identity = {
        name,
        ...(namespace === undefined ? {} : { namespace }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      };
      return { apiVersion, kind, metadata: identity, value };
    };
    this.#reflector = new Reflector({ ...options, keep });
  }

  /** Told on each change, and first when the collection was listed whole. */
  get changes(): Latest<unknown> {
    return this.#reflector.objects;
  }

  /** What was read; undefined until the collection was listed whole. */
  get values(): readonly T[] | undefined {
    const objects = this.#reflector.objects.value as ReadonlyMap<string, Kept<T>> | undefined;
    return objects && Array.from(objects.values(), ({ value }) => value);
  }

  /** Why the copy may be outdated; null while it follows. */
  get fault(): Latest<MeshError | null> {
    return this.#reflector.fault;
  }

  /** Follows the collection until `signal` is aborted. */
  run(signal: AbortSignal): Promise<void> {
    return this.#reflector.run(signal);
  }
}
