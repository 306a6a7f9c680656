import type { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Status } from "../../proto/gen/relay/v1/relay.ts";
import { keyOf } from "../../common/session/resource-set.ts";

/** More entries than this of one cluster are dropped: a cluster has one per istiod it runs. */
const MAX_ENTRIES = 10_000;

/** What each cluster reported last. */
export class StatusBook {
  readonly #clusters = new Map<string, Map<string, IssuedCertificateStatus>>();
  readonly #onChange: (cluster: string) => void;

  constructor(onChange: (cluster: string) => void) {
    this.#onChange = onChange;
  }

  /** Takes a report of the cluster's session. Which cluster it is comes from the certificate, never from the report. */
  take(cluster: string, { certificates, removals, whole }: Status): void {
    const entries = whole ? new Map<string, IssuedCertificateStatus>() : (this.#clusters.get(cluster) ?? new Map());
    for (const status of certificates) {
      if (status.name && entries.size < MAX_ENTRIES) entries.set(keyOf(status.name), status);
    }
    for (const name of removals) entries.delete(keyOf(name));
    this.#clusters.set(cluster, entries);
    this.#onChange(cluster);
  }

  get(cluster: string): readonly IssuedCertificateStatus[] {
    return [...(this.#clusters.get(cluster)?.values() ?? [])];
  }
}
