import type { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Status } from "../../proto/gen/relay/v1/relay.ts";
import { keyOf } from "../../common/session/resource-set.ts";

/** More entries than this of one cluster are dropped: a cluster has one per istiod it runs. */
const MAX_ENTRIES = 10_000;

/** What each cluster reported last. */
export class StatusBook {
  readonly #clusters = new Map<string, Map<string, IssuedCertificateStatus>>();
  readonly #listeners = new Set<(cluster: string) => void>();

  /** Calls back with the name of each cluster that reported. */
  onChange(listener: (cluster: string) => void): void {
    this.#listeners.add(listener);
  }

  /** Takes a report of the cluster's session. Which cluster it is comes from the certificate, never from the report. */
  take(cluster: string, { certificates, removals, whole }: Status): void {
    const before = whole ? undefined : this.#clusters.get(cluster);
    const entries = before ?? new Map<string, IssuedCertificateStatus>();
    for (const status of certificates) {
      if (status.name && entries.size < MAX_ENTRIES) entries.set(keyOf(status.name), status);
    }
    for (const name of removals) entries.delete(keyOf(name));
    this.#clusters.set(cluster, entries);
    for (const listener of this.#listeners) listener(cluster);
  }

  get(cluster: string): readonly IssuedCertificateStatus[] {
    return [...(this.#clusters.get(cluster)?.values() ?? [])];
  }
}
