import { readFile } from "node:fs/promises";
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

/** What our programs have asked of a cluster's API server since the cluster came up, each distinct request once. */
export async function requestsTo(cluster: Cluster): Promise<AuditedRequest[]> {
  const lines = (await readFile(join(cluster.plan.directory, AUDIT_LOG), "utf8")).split("\n");
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
