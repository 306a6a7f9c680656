import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { json } from "node:stream/consumers";
import * as z from "zod";
import { MeshError } from "../common/runtime/errors.ts";

/** How to reach the API server that judges tokens. */
export interface Reviewer {
  /** `https://host:port`. */
  readonly host: string;
  /** PEM to verify it with; undefined: the certificate authorities of this machine. */
  readonly caCertPem: string | undefined;
  /** Credential of the review itself. */
  readonly bearer: string;
}

export interface ReviewedAccount {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

const TIMEOUT_MS = 10_000;

const reviewSchema = z.object({
  status: z.object({
    authenticated: z.boolean().default(false),
    error: z.string().default("not authenticated"),
    audiences: z.array(z.string()).default([]),
    user: z.object({ username: z.string().default(""), uid: z.string().default("") }).prefault({}),
  }),
});

/**
 * Asks a Kubernetes API server whether `token` is good for one of `audiences`, and whose it is.
 * Throws `unauthenticated` when it is not, and whatever keeps the answer from us.
 */
export async function reviewToken(
  reviewer: Reviewer,
  token: string,
  audiences: readonly string[],
): Promise<ReviewedAccount> {
  const spec = { token, audiences };
  const answer = await post(reviewer, { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec });
  const { authenticated, error, user, audiences: accepted } = reviewSchema.parse(answer).status;
  if (!authenticated) throw new MeshError("unauthenticated", `token review: ${error}`);
  if (!audiences.some((audience) => accepted.includes(audience))) {
    throw new MeshError("unauthenticated", `token review: audiences ${String(accepted)}, want ${String(audiences)}`);
  }
  const account = /^system:serviceaccount:(?<namespace>[^:]+):(?<name>[^:]+)$/.exec(user.username)?.groups;
  if (!account) throw new MeshError("unauthenticated", `token review: user ${user.username} is no service account`);
  return { namespace: account["namespace"] ?? "", name: account["name"] ?? "", uid: user.uid };
}

function post({ host, caCertPem, bearer }: Reviewer, review: object): Promise<unknown> {
  const url = new URL("/apis/authentication.k8s.io/v1/tokenreviews", host);
  const options = {
    method: "POST",
    headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
    signal: AbortSignal.timeout(TIMEOUT_MS),
    agent: false,
    ...(caCertPem === undefined ? {} : { ca: caCertPem }),
  } as const;
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "http:" ? requestHttp : requestHttps)(url, options, (response) => {
      const { statusCode = 0 } = response;
      if (statusCode >= 200 && statusCode < 300) {
        json(response).then(resolve, reject);
        return;
      }
      response.resume();
      reject(new MeshError("unauthenticated", `token review: ${host} answered ${statusCode}`));
    });
    request.on("error", reject);
    request.end(JSON.stringify(review));
  });
}
