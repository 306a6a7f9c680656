import { AuthenticationV1Api, KubeConfig, V1TokenReview, V1TokenReviewStatus } from "@kubernetes/client-node";
import { MeshError } from "../runtime/errors.ts";

/** What an API server says of a token. */
export interface TokenVerdict {
  readonly authenticated: boolean;
  /** Why not, in the API server's words. */
  readonly error: string;
  /** "system:serviceaccount:NAMESPACE:NAME" for a service account. */
  readonly username: string;
  /** Audiences that the token and the request share. */
  readonly audiences: readonly string[];
  /** Further facts, e.g. "authentication.kubernetes.io/pod-uid". */
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** Asks the API server whether a token is good for one of the audiences. Throws `unavailable` when it does not answer. */
export type ReviewToken = (token: string, audiences: readonly string[]) => Promise<TokenVerdict>;

/** TokenReview by the API server of a kubeconfig file, or of the pod's own cluster where none is given. */
export function tokenReviewClient(kubeconfigFile: string | undefined): ReviewToken {
  const config = new KubeConfig();
  if (kubeconfigFile === undefined) config.loadFromCluster();
  else config.loadFromFile(kubeconfigFile);
  const api = config.makeApiClient(AuthenticationV1Api);
  return async (token, audiences) => {
    const body = Object.assign(new V1TokenReview(), { spec: { token, audiences: [...audiences] } });
    const { status } = await api.createTokenReview({ body }).catch(unavailable);
    return toVerdict(status ?? new V1TokenReviewStatus());
  };
}

function toVerdict({ authenticated, error, user, audiences }: V1TokenReviewStatus): TokenVerdict {
  return {
    authenticated: authenticated === true,
    error: error ?? "",
    username: user?.username ?? "",
    audiences: audiences ?? [],
    extra: user?.extra ?? {},
  };
}

/** The client's error holds the request, and the request the token: only its code may be told. */
function unavailable(thrown: unknown): never {
  const code = thrown instanceof Error && "code" in thrown ? ` (${String(thrown.code)})` : "";
  throw new MeshError("unavailable", `the api server did not review a token${code}`, {
    hint: "check that the api server answers, and that this program may create tokenreviews",
  });
}
