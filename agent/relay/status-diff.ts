import { IssuedCertificateStatus, type ResourceName } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Status } from "../../proto/gen/relay/v1/relay.ts";
import { keyOf, nameOf } from "../../common/session/resource-set.ts";

/** Works out what one session has not been told yet: everything first, then what changed. */
export class StatusDiff {
  #sent: ReadonlyMap<string, Buffer> | undefined;

  /** The message to send for these statuses, or undefined when the server knows them all. */
  next(statuses: readonly IssuedCertificateStatus[]): Status | undefined {
    const before = this.#sent;
    const now = new Map<string, Buffer>();
    const changed: IssuedCertificateStatus[] = [];
    for (const status of statuses) {
      if (!status.name) continue;
      const key = keyOf(status.name);
      const bytes = Buffer.from(IssuedCertificateStatus.encode(status).finish());
      now.set(key, bytes);
      if (!before?.get(key)?.equals(bytes)) changed.push(status);
    }
    const removals: ResourceName[] = [...(before?.keys() ?? [])].filter((key) => !now.has(key)).map(nameOf);
    this.#sent = now;
    if (before && changed.length === 0 && removals.length === 0) return undefined;
    return { certificates: changed, removals, whole: before === undefined, discovery: undefined };
  }
}
