import { Discovery } from "../../proto/gen/discovery/v1/discovery.ts";
import {
  IssuedCertificateStatus,
  type PodBounceStatus,
  type ResourceName,
} from "../../proto/gen/certificates/v1/certificates.ts";
import type { Status } from "../../proto/gen/relay/v1/relay.ts";
import { keyOf, nameOf } from "../../common/session/resource-set.ts";

/** Restart of a mesh's pods by the key of its certificate. */
export type PodBounces = ReadonlyMap<string, PodBounceStatus>;

/** What the agent knows of its cluster. */
export interface AgentReport {
  readonly certificates: readonly IssuedCertificateStatus[];
  readonly podBounces: PodBounces;
  /** undefined until the cluster was looked through, and where that is not done. */
  readonly discovery: Discovery | undefined;
}

/** Works out what one session has not been told yet: everything first, then what changed. */
export class StatusDiff {
  #sent: ReadonlyMap<string, Buffer> | undefined;
  #discovery: Buffer | undefined;

  /** The message to send for this report, or undefined when the server knows it all. */
  next({ certificates, podBounces, discovery }: AgentReport): Status | undefined {
    const before = this.#sent;
    const now = new Map<string, Buffer>();
    const changed: IssuedCertificateStatus[] = [];
    for (const each of certificates) {
      if (!each.name) continue;
      const key = keyOf(each.name);
      const status = { ...each, podBounce: podBounces.get(key) };
      const bytes = Buffer.from(IssuedCertificateStatus.encode(status).finish());
      now.set(key, bytes);
      if (!before?.get(key)?.equals(bytes)) changed.push(status);
    }
    const removals: ResourceName[] = [...(before?.keys() ?? [])].filter((key) => !now.has(key)).map(nameOf);
    this.#sent = now;
    const found = this.#newDiscovery(discovery);
    if (before && changed.length === 0 && removals.length === 0 && !found) return undefined;
    return { certificates: changed, removals, whole: before === undefined, discovery: found };
  }

  #newDiscovery(discovery: Discovery | undefined): Discovery | undefined {
    if (!discovery) return undefined;
    const bytes = Buffer.from(Discovery.encode(discovery).finish());
    if (this.#discovery?.equals(bytes)) return undefined;
    this.#discovery = bytes;
    return discovery;
  }
}
