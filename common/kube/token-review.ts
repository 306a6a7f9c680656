import { MeshError } from "../runtime/errors.ts";
import type { KubeClient } from "./client.ts";

/** Whom a token speaks for, in the API server's words. What asks for that user's rights repeats all of it. */
export interface ReviewedUser {
  /** "system:serviceaccount:NAMESPACE:NAME" for a service account. */
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  /** Further facts, e.g. "authentication.kubernetes.io/pod-uid". */
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** What an API server says of a token. */
export interface TokenVerdict {
  readonly authenticated: boolean;
  /** Why not, in the API server's words. */
  readonly error: string;
  /** Audiences that the token and the request share. */
  readonly audiences: readonly string[];
  readonly user: ReviewedUser;
}

/** Asks the API server whether a token is good for one of the audiences. Throws `unavailable` when it does not answer. */
export type ReviewToken = (token: string, audiences: readonly string[], signal: AbortSignal) => Promise<TokenVerdict>;

interface TokenReviewAnswer {
  readonly status?: Partial<Omit<TokenVerdict, "user">> & { readonly user?: Partial<ReviewedUser> };
}

/** TokenReview by the API server. */
export function tokenReviews(client: KubeClient): ReviewToken {
  return async (token, audiences, signal) => {
    const request = {
      what: "review a token",
      method: "POST",
      path: "/apis/authentication.k8s.io/v1/tokenreviews",
      body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token, audiences } },
    } as const;
    const { status } = (await client.call(request, signal).catch(unavailable)) as TokenReviewAnswer;
    const { username = "", uid = "", groups = [], extra = {} } = status?.user ?? {};
    return {
      authenticated: status?.authenticated === true,
      error: status?.error ?? "",
      audiences: status?.audiences ?? [],
      user: { username, uid, groups, extra },
    };
  };
}

/** An API server may quote what it was sent, and that was the token: only the code of its refusal is told. */
function unavailable(thrown: unknown): never {
  const { code } = MeshError.from(thrown);
  throw new MeshError("unavailable", `the api server did not review a token (${code})`, {
    hint: "check that the api server answers, and that this program may create tokenreviews",
  });
}
