import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { generateKeyPair, type JWTPayload, jwtVerify, SignJWT } from "jose";
import { createRootCa, signCertificate } from "../../common/pki/authority.ts";
import { toPem } from "../../common/pki/certificate.ts";
import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";

const ISSUER = "https://kubernetes.default.svc.cluster.local";
const EC = { type: "ec", curve: "P-256" } as const;
const HOUR_MS = 3_600_000;

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

/** A server with an API server's TokenReview and nothing else. Tokens are service account JWTs that it signed. */
export interface TokenReviewServer extends AsyncDisposable {
  /** `https://127.0.0.1:PORT`. */
  readonly url: string;
  /** PEM with which to verify it. */
  readonly caPem: string;
  /** Token of an account that may review tokens (`system:auth-delegator`); no other may. */
  readonly reviewerToken: string;
  createToken(request: TokenRequest): Promise<string>;
}

/** Starts one on a free loopback port. As with Kubernetes, a reviewer who is unknown gets 401 and one without the right 403. */
export async function startTokenReviewServer(): Promise<TokenReviewServer> {
  const accounts = await Accounts.create();
  const { caPem, ...identity } = await servingIdentity();
  const reviewer = { namespace: "vault", serviceAccount: "vault" };
  const server = createServer(identity, (request, response) => {
    void answer(accounts, request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    caPem,
    reviewerToken: await accounts.createToken(reviewer),
    createToken: (request) => accounts.createToken(request),
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function servingIdentity(): Promise<{ key: string; cert: string; caPem: string }> {
  const validity = { notBeforeMs: Date.now() - HOUR_MS, notAfterMs: Date.now() + 24 * HOUR_MS };
  const caKey = await generateKey(EC);
  const certificate = await createRootCa({ subject: { commonName: "kubernetes" }, key: caKey, ...validity });
  const key = await generateKey(EC);
  const leaf = await signCertificate({
    issuer: { certificate, key: caKey },
    subject: { commonName: "kube-apiserver" },
    publicKey: key,
    ipSans: ["127.0.0.1"],
    extendedKeyUsages: ["serverAuth"],
    ...validity,
  });
  return { key: privateKeyToPem(key), cert: toPem([leaf]), caPem: toPem([certificate]) };
}

interface ReviewedUser {
  readonly username: string;
  readonly uid: string;
  readonly audiences: readonly string[];
}

class Accounts {
  readonly #keys: CryptoKeyPair;
  readonly #strangerKeys: CryptoKeyPair;
  readonly #uids = new Map<string, string>();

  private constructor(keys: CryptoKeyPair, strangerKeys: CryptoKeyPair) {
    this.#keys = keys;
    this.#strangerKeys = strangerKeys;
  }

  static async create(): Promise<Accounts> {
    return new Accounts(await generateKeyPair("RS256"), await generateKeyPair("RS256"));
  }

  async createToken(request: TokenRequest): Promise<string> {
    const { namespace, serviceAccount, audience = ISSUER, expirationSeconds = 3600, forged = false } = request;
    const username = `system:serviceaccount:${namespace}:${serviceAccount}`;
    const uid = this.#uids.get(username) ?? randomUUID();
    this.#uids.set(username, uid);
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT({ "kubernetes.io": { namespace, serviceaccount: { name: serviceAccount, uid } } })
      .setProtectedHeader({ alg: "RS256" })
      .setIssuer(ISSUER)
      .setSubject(username)
      .setAudience([audience])
      .setIssuedAt(Math.min(now, now + expirationSeconds - 1))
      .setExpirationTime(now + expirationSeconds)
      .sign((forged ? this.#strangerKeys : this.#keys).privateKey);
  }

  /** The account of a token, or undefined when it is not good for any of `audiences`. */
  async review(token: string, audiences: readonly string[]): Promise<ReviewedUser | undefined> {
    let claims: JWTPayload;
    try {
      claims = (await jwtVerify(token, this.#keys.publicKey, { issuer: ISSUER })).payload;
    } catch {
      return undefined;
    }
    const common = [claims.aud ?? []].flat().filter((audience) => audiences.includes(audience));
    const username = claims.sub ?? "";
    return common.length > 0 ? { username, uid: this.#uids.get(username) ?? "", audiences: common } : undefined;
  }
}

async function answer(accounts: Accounts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const bearer = /^Bearer (?<token>.+)$/.exec(request.headers.authorization ?? "")?.groups?.["token"] ?? "";
  const caller = await accounts.review(bearer, [ISSUER]);
  if (!caller) return send(response, 401, status(401, "Unauthorized"));
  if (caller.username !== "system:serviceaccount:vault:vault") return send(response, 403, status(403, "Forbidden"));
  if (request.method !== "POST" || request.url !== "/apis/authentication.k8s.io/v1/tokenreviews") {
    return send(response, 404, status(404, "NotFound"));
  }
  const { spec } = (await json(request)) as { spec: { token: string; audiences?: string[] } };
  const user = await accounts.review(spec.token, spec.audiences ?? [ISSUER]);
  const verdict = user
    ? { authenticated: true, user: { username: user.username, uid: user.uid }, audiences: user.audiences }
    : { authenticated: false, error: "token is not valid" };
  send(response, 201, {
    kind: "TokenReview",
    apiVersion: "authentication.k8s.io/v1",
    metadata: {},
    spec,
    status: verdict,
  });
}

function status(code: number, reason: string): object {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message: reason, reason, code };
}

function send(response: ServerResponse, code: number, body: object): void {
  response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(body));
}
