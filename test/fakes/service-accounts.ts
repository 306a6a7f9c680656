import { randomUUID } from "node:crypto";
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JSONWebKeySet, type JWTPayload } from "jose";

export interface FakeTokenRequest {
  readonly audience: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly podName?: string;
  readonly podUid?: string;
  /** Milliseconds since the epoch. Default: now and an hour later. */
  readonly issuedAtMs?: number;
  readonly expiresAtMs?: number;
  /** Laid over the claims, for what no API server would sign; undefined takes one away. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** Signs service account tokens as an API server does: pod-bound, RS256, with a key id. */
export class FakeServiceAccounts {
  readonly issuer = "https://kubernetes.default.svc.cluster.local";
  readonly #keyId = randomUUID();
  readonly #privateKey: CryptoKey;
  readonly #publicKey: CryptoKey;

  private constructor(privateKey: CryptoKey, publicKey: CryptoKey) {
    this.#privateKey = privateKey;
    this.#publicKey = publicKey;
  }

  static async create(): Promise<FakeServiceAccounts> {
    const { privateKey, publicKey } = await generateKeyPair("RS256");
    return new FakeServiceAccounts(privateKey, publicKey);
  }

  async jwks(): Promise<JSONWebKeySet> {
    return { keys: [{ ...(await exportJWK(this.#publicKey)), kid: this.#keyId, alg: "RS256", use: "sig" }] };
  }

  async sign(request: FakeTokenRequest): Promise<string> {
    const { audience, namespace = "istio-system", serviceAccount = "istiod-service-account" } = request;
    const { podName = "istiod-7d9f-abcde", podUid = "11111111-2222-4333-8444-555555555555" } = request;
    const { issuedAtMs = Date.now(), expiresAtMs = issuedAtMs + 3_600_000 } = request;
    const claims: JWTPayload = {
      iss: this.issuer,
      aud: [audience],
      sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
      iat: Math.floor(issuedAtMs / 1000),
      nbf: Math.floor(issuedAtMs / 1000),
      exp: Math.floor(expiresAtMs / 1000),
      jti: randomUUID(),
      "kubernetes.io": {
        namespace,
        pod: { name: podName, uid: podUid },
        serviceaccount: { name: serviceAccount, uid: "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee" },
      },
      ...request.claims,
    };
    return new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: this.#keyId }).sign(this.#privateKey);
  }
}
