import { startTokenReview } from "../../demo/token-review.ts";
import { formatHostPort } from "../../common/runtime/settings.ts";
import { FakeServiceAccounts } from "./service-accounts.ts";

export interface TokenRequest {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Default: the API server's own audience. */
  readonly audience?: string;
  /** From now; negative for a token that has expired. Default: one hour. */
  readonly expirationSeconds?: number;
  /** Signs with a key that the server does not know. */
  readonly forged?: boolean;
}

/** A server with an API server's TokenReview and nothing else, the demo's own, and the accounts whose tokens it knows. */
export interface TokenReviewServer extends AsyncDisposable {
  /** `https://127.0.0.1:PORT`. */
  readonly url: string;
  /** PEM with which to verify it. */
  readonly caPem: string;
  /** Token of an account that may review tokens (`system:auth-delegator`); no other may. */
  readonly reviewerToken: string;
  createToken(request: TokenRequest): Promise<string>;
}

/** Starts one on a free loopback port. */
export async function startTokenReviewServer(): Promise<TokenReviewServer> {
  const [accounts, strangers] = [await FakeServiceAccounts.create(), await FakeServiceAccounts.create()];
  const server = await startTokenReview({ accounts, listen: { host: "127.0.0.1", port: 0 }, names: [] });
  return {
    url: `https://${formatHostPort(server.address)}`,
    caPem: server.caPem,
    reviewerToken: server.reviewerToken,
    createToken({ audience = accounts.issuer, expirationSeconds = 3600, forged = false, ...account }) {
      const expiresAtMs = Date.now() + expirationSeconds * 1000;
      const issuedAtMs = Math.min(Date.now(), expiresAtMs - 1000);
      return (forged ? strangers : accounts).sign({ ...account, audience, issuedAtMs, expiresAtMs });
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
