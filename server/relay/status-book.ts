import { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Discovery } from "../../proto/gen/discovery/v1/discovery.ts";
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

type Told = Omit<Status, "discovery"> & { readonly discovery?: Discovery | undefined };

/** What each cluster reported last. */
export class StatusBook {
  readonly #clusters = new Map<string, Map<string, Entry>>();
  readonly #listeners = new Set<(cluster: string) => void>();
  readonly #finders = new Set<(cluster: string, discovery: Discovery) => void>();
  /** How often a cluster has told everything: each session begins so. */
  readonly #wholes = new Map<string, number>();

  /** Calls back with what a cluster's agent found, each time that it tells. */
  onDiscovery(listener: (cluster: string, discovery: Discovery) => void): void {
    this.#finders.add(listener);
  }

  /** Calls back with the name of each cluster that reported. */
  onChange(listener: (cluster: string) => void): void {
    this.#listeners.add(listener);
  }

  /** Takes a report of the cluster's session. Which cluster it is comes from the certificate, never from the report. */
  take(cluster: string, { certificates, removals, whole, discovery }: Told): void {
    if (whole) this.#wholes.set(cluster, this.wholes(cluster) + 1);
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
    if (discovery) for (const listener of this.#finders) listener(cluster, discovery);
  }

  /** Number of reports of the cluster that said all there was. */
  wholes(cluster: string): number {
    return this.#wholes.get(cluster) ?? 0;
  }

  get(cluster: string): readonly IssuedCertificateStatus[] {
    return [...(this.#clusters.get(cluster)?.values() ?? [])].map(({ status }) => status);
  }
}
