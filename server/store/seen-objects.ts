import type { KubeObject } from "../../common/kube/resource-type.ts";
import type { Clock } from "../../common/runtime/clock.ts";

/** Longer than any watch lags that still follows; after it what was heard counts, whatever it is: a restored store too. */
const KEEP_MS = 10_000;

interface Seen {
  readonly object: KubeObject;
  readonly atMs: number;
}

/** What this process read or wrote and has not heard of yet: a watch lags, and whoever wrote must see what he wrote. */
export class SeenObjects {
  readonly #clock: Clock;
  readonly #seen = new Map<string, Seen>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(key: string, object: KubeObject): void {
    this.#seen.set(key, { object, atMs: this.#clock.now() });
  }

  /** The newer one of what was seen and what was heard. */
  newest(key: string, heard: KubeObject | undefined): KubeObject | undefined {
    const seen = this.#seen.get(key);
    if (!seen) return heard;
    const isOld = this.#clock.now() - seen.atMs > KEEP_MS;
    if (!isOld && isNewer(seen.object, heard)) return seen.object;
    this.#seen.delete(key);
    return heard;
  }

  /** The object of this uid was heard to be deleted; another one of its name may have been made since. */
  gone(key: string, uid: string | undefined): void {
    if (this.#seen.get(key)?.object.metadata.uid === uid) this.#seen.delete(key);
  }

  values(): KubeObject[] {
    return [...this.#seen.values()].map(({ object }) => object);
  }
}

/** Versions are numbers that only grow (KEP-5504); where they are not, what was heard counts. */
function isNewer({ metadata }: KubeObject, heard: KubeObject | undefined): boolean {
  if (!heard) return true;
  const [seen = "", other = ""] = [metadata.resourceVersion, heard.metadata.resourceVersion];
  return /^\d+$/.test(seen) && /^\d+$/.test(other) && BigInt(seen) > BigInt(other);
}
