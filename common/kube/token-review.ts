import { AuthenticationV1Api, KubeConfig } from "@kubernetes/client-node";
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
    try {
      const { status } = await api.createTokenReview({ body: { spec: { token, audiences: [...audiences] } } });
      return {
        authenticated: status?.authenticated ?? false,
        error: status?.error ?? "",
        username: status?.user?.username ?? "",
        audiences: status?.audiences ?? [],
        extra: status?.user?.extra ?? {},
      };
    } catch (cause) {
      // The cause holds the request, and the request the token: only its kind may be told.
      const code = cause instanceof Error && "code" in cause ? ` (${String(cause.code)})` : "";
      throw new MeshError("unavailable", `the api server did not review a token${code}`, {
        hint: "check that the api server answers, and that this program may create tokenreviews",
      });
    }
  };
}
