import { decodeJwt, errors } from "jose";
import type { ReviewToken } from "../../common/kube/token-review.ts";
import { LINK_AUDIENCE } from "../../common/session/link.ts";
import { readPodIdentity, refused, type PodIdentity, type TokenReviewer } from "./token-reviewer.ts";

/** Longer than any token of Kubernetes; what is longer is not sent on. */
const MAX_TOKEN_CHARACTERS = 16 * 1024;
const TIMEOUT_MS = 10_000;

/** Has the API server of the cluster review each token, so that a token of a deleted pod is refused at once. */
export class KubernetesTokenReviewer implements TokenReviewer {
  readonly #review: ReviewToken;

  constructor(review: ReviewToken) {
    this.#review = review;
  }

  async review(token: string): Promise<PodIdentity> {
    if (token.length > MAX_TOKEN_CHARACTERS) throw refused(`it is longer than ${MAX_TOKEN_CHARACTERS} characters`);
    const pod = readClaims(token);
    const verdict = await this.#review(token, [LINK_AUDIENCE], AbortSignal.timeout(TIMEOUT_MS));
    const { authenticated, audiences, user } = verdict;
    if (!authenticated || !audiences.includes(LINK_AUDIENCE)) {
      throw refused(`the api server does not accept it for audience ${LINK_AUDIENCE}`);
    }
    // The API server has verified the signature, so the claims can be believed.
    return { ...pod, user };
  }
}

/** Read before the API server is asked: what is no token for us at all must not become its load. */
function readClaims(token: string): PodIdentity {
  try {
    return readPodIdentity(decodeJwt(token));
  } catch (error) {
    throw error instanceof errors.JOSEError ? refused("it is not a signed json web token") : error;
  }
}
