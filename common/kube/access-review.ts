import { MeshError } from "../runtime/errors.ts";
import type { KubeClient } from "./client.ts";
import type { ReviewedUser } from "./token-review.ts";

/** A right on objects of a namespace. */
export interface AccessQuestion {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly namespace: string;
}

/** Asks the API server whether a user has a right. Throws `unavailable` when it does not answer. */
export type ReviewAccess = (user: ReviewedUser, question: AccessQuestion, signal: AbortSignal) => Promise<boolean>;

/** SubjectAccessReview by the API server. */
export function accessReviews(client: KubeClient): ReviewAccess {
  return async ({ username, uid, groups, extra }, resourceAttributes, signal) => {
    const request = {
      what: "review a right",
      method: "POST",
      path: "/apis/authorization.k8s.io/v1/subjectaccessreviews",
      body: {
        ...{ apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview" },
        spec: { user: username, uid, groups, extra, resourceAttributes },
      },
    } as const;
    const answer = await client.call(request, signal).catch((cause: unknown) => {
      throw new MeshError("unavailable", `the api server did not review a right: ${MeshError.from(cause).message}`, {
        cause,
        hint: "check that the api server answers, and that this program may create subjectaccessreviews",
      });
    });
    return (answer as { readonly status?: { readonly allowed?: boolean } }).status?.allowed === true;
  };
}
