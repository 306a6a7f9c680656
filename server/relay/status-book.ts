import { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Status } from "../../proto/gen/relay/v1/relay.ts";
import { boundStatus } from "../../common/session/bounds.ts";
import { keyOf } from "../../common/session/resource-set.ts";

/**
 * What does not fit into so much, encoded, is dropped: a cluster has one entry per mesh, with less than 2 KiB for each
 * istiod. One cluster must not fill the answers that speak of all.
 */
const MAX_BYTES = 256 * 1024;

interface Entry {
  readonly status: IssuedCertificateStatus;
  readonly bytes: number;
}

/** What each cluster reported last. */
export class StatusBook {
  readonly #clusters = new Map<string, Map<string, Entry>>();
  readonly #listeners = new Set<(cluster: string) => void>();

  /** Calls back with the name of each cluster that reported. */
  onChange(listener: (cluster: string) => void): void {
    this.#listeners.add(listener);
  }

  /** Takes a report of the cluster's session. Which cluster it is comes from the certificate, never from the report. */
  take(cluster: string, { certificates, removals, whole }: Omit<Status, "discovery">): void {
    const entries = (whole ? undefined : this.#clusters.get(cluster)) ?? new Map<string, Entry>();
    for (const name of removals) entries.delete(keyOf(name));
    let free = MAX_BYTES - [...entries.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    for (const told of certificates) {
      if (!told.name) continue;
      const status = boundStatus(told);
      const bytes = IssuedCertificateStatus.encode(status).finish().length;
      const key = keyOf(told.name);
      free += (entries.get(key)?.bytes ?? 0) - bytes;
      entries.delete(key);
      if (free >= 0) entries.set(key, { status, bytes });
      else free += bytes;
    }
    this.#clusters.set(cluster, entries);
    for (const listener of this.#listeners) listener(cluster);
  }

  get(cluster: string): readonly IssuedCertificateStatus[] {
    return [...(this.#clusters.get(cluster)?.values() ?? [])].map(({ status }) => status);
  }
}
