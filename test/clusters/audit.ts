import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Cluster } from "./cluster.ts";
import { AUDIT_LOG } from "./programs.ts";

/** One request of one of our programs to the API server. */
export interface AuditedRequest {
  /** namespace/name of its service account. */
  readonly user: string;
  readonly verb: string;
  readonly group: string;
  /** `kind` or `kind/subresource`. */
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
  /** Whether the account had the right. */
  readonly isAllowed: boolean;
}

interface AuditEvent {
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly annotations?: Readonly<Record<string, string>>;
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource?: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
}

const recordOf = (cluster: Cluster): string => join(cluster.plan.directory, AUDIT_LOG);

/** How far the record goes now, for `requestsTo`. */
export const endOfRecord = async (cluster: Cluster): Promise<number> => (await stat(recordOf(cluster))).size;

/** What our programs have asked of a cluster's API server, each distinct request once; since then, or since ever. */
export async function requestsTo(cluster: Cluster, since = 0): Promise<AuditedRequest[]> {
  const lines = (await readFile(recordOf(cluster))).subarray(since).toString("utf8").split("\n");
  // The last line may be half written.
  const events = lines.slice(0, -1).map((line) => JSON.parse(line) as AuditEvent);
  const requests = events.flatMap((event) => requestOf(event) ?? []);
  return [...new Map(requests.map((request) => [JSON.stringify(request), request])).values()];
}

function requestOf({ verb, user, annotations = {}, objectRef }: AuditEvent): AuditedRequest | undefined {
  if (!objectRef?.resource) return undefined;
  const { apiGroup = "", resource, subresource, namespace, name } = objectRef;
  return {
    user: user.username.split(":").slice(2).join("/"),
    ...{ verb, group: apiGroup, resource: subresource === undefined ? resource : `${resource}/${subresource}` },
    ...(namespace !== undefined && { namespace }),
    ...(name !== undefined && { name }),
    isAllowed: annotations["authorization.k8s.io/decision"] !== "forbid",
  };
}
