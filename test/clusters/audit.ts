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
  readonly responseStatus?: { readonly code?: number };
  readonly responseObject?: object;
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

/**
 * What our programs have asked of a cluster's API server, each distinct request once; since then, or since ever. What the
 * agent asks of the right of another counts as that other's request.
 */
export async function requestsTo(cluster: Cluster, since = 0): Promise<AuditedRequest[]> {
  const lines = (await readFile(recordOf(cluster))).subarray(since).toString("utf8").split("\n");
  // The last line may be half written.
  const events = lines.slice(0, -1).map((line) => JSON.parse(line) as AuditEvent);
  const requests = events.flatMap(requestsOf);
  return [...new Map(requests.map((request) => [JSON.stringify(request), request])).values()];
}

const CREATED = 201;

function requestsOf(event: AuditEvent): AuditedRequest[] {
  const { verb, user, annotations = {}, objectRef, responseStatus, responseObject } = event;
  if (!objectRef?.resource) return [];
  const { apiGroup = "", resource, subresource, namespace, name } = objectRef;
  const request: AuditedRequest = {
    ...{ user: accountOf(user.username), verb, group: apiGroup, resource: joined(resource, subresource) },
    ...(namespace !== undefined && { namespace }),
    ...(name !== undefined && { name }),
    isAllowed: annotations["authorization.k8s.io/decision"] !== "forbid",
  };
  // Server-side apply to what was not there takes the right to create it by its name, too.
  const created = verb === "patch" && responseStatus?.code === CREATED ? [{ ...request, verb: "create" }] : [];
  return [request, ...created, ...reviewed(responseObject)];
}

interface AccessReview {
  readonly kind?: string;
  readonly spec?: {
    readonly user?: string;
    readonly resourceAttributes?: Readonly<Partial<Record<"verb" | "group" | "namespace" | "name", string>>> & {
      readonly resource: string;
      readonly subresource?: string;
    };
  };
  readonly status?: { readonly allowed?: boolean };
}

function reviewed(review: AccessReview = {}): AuditedRequest[] {
  const { user = "", resourceAttributes } = review.spec ?? {};
  if (review.kind !== "SubjectAccessReview" || !resourceAttributes) return [];
  const { verb = "", group = "", resource, subresource, namespace, name } = resourceAttributes;
  return [
    {
      ...{ user: accountOf(user), verb, group, resource: joined(resource, subresource) },
      ...(namespace !== undefined && { namespace }),
      ...(name !== undefined && { name }),
      isAllowed: review.status?.allowed === true,
    },
  ];
}

const accountOf = (username: string): string => username.split(":").slice(2).join("/");

const joined = (resource: string, subresource: string | undefined): string =>
  subresource === undefined ? resource : `${resource}/${subresource}`;
