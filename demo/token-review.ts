import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import { isIP, type AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { createLocalJWKSet, jwtVerify, type JWTVerifyGetKey } from "jose";
import { createRootCa, signCertificate } from "../common/pki/authority.ts";
import { toPem } from "../common/pki/certificate.ts";
import { generateKey, privateKeyToPem } from "../common/pki/keys.ts";
import type { HostPort } from "../common/runtime/settings.ts";
import type { FakeServiceAccounts } from "../test/fakes/service-accounts.ts";

const EC = { type: "ec", curve: "P-256" } as const;
const DAY_MS = 86_400_000;
/** Nobody watches one demo for longer. */
const LIFE_MS = 365 * DAY_MS;
const REVIEWER = { namespace: "vault", serviceAccount: "vault" };

/** The one call of an API server that Vault's kubernetes auth method makes. */
export interface TokenReviewServer extends AsyncDisposable {
  /** Where it listens. */
  readonly address: HostPort;
  /** PEM with which to verify it. */
  readonly caPem: string;
  /** Token that may review tokens; no other may. */
  readonly reviewerToken: string;
}

/** What it answers for, and where. */
export interface TokenReviewOptions {
  readonly accounts: FakeServiceAccounts;
  readonly listen: HostPort;
  /** Names and addresses under which it is called, beside 127.0.0.1. */
  readonly names: readonly string[];
}

/** Starts it. As with Kubernetes, a caller who is unknown gets 401 and one without the right 403. */
export async function startTokenReview(options: TokenReviewOptions): Promise<TokenReviewServer> {
  const { accounts, listen } = options;
  const { caPem, ...identity } = await servingIdentity(options.names);
  const findKey = createLocalJWKSet(await accounts.jwks());
  const server = createServer(identity, (request, response) => {
    void answer({ issuer: accounts.issuer, findKey }, request, response).catch(() => response.destroy());
  });
  server.listen(listen.port, listen.host);
  await once(server, "listening");
  return {
    address: { host: listen.host, port: (server.address() as AddressInfo).port },
    caPem,
    reviewerToken: await accounts.sign({
      ...REVIEWER,
      podName: "vault-0",
      audience: accounts.issuer,
      expiresAtMs: Date.now() + LIFE_MS,
    }),
    [Symbol.asyncDispose]: () => close(server),
  };
}

async function close(server: Server): Promise<void> {
  server.close();
  server.closeAllConnections();
  await once(server, "close");
}

/** A certificate for 127.0.0.1 and `names`, under an authority of its own. */
export async function servingIdentity(names: readonly string[]): Promise<{ key: string; cert: string; caPem: string }> {
  const validity = { notBeforeMs: Date.now() - DAY_MS, notAfterMs: Date.now() + LIFE_MS };
  const caKey = await generateKey(EC);
  const certificate = await createRootCa({ subject: { commonName: "kubernetes" }, key: caKey, ...validity });
  const key = await generateKey(EC);
  const leaf = await signCertificate({
    issuer: { certificate, key: caKey },
    subject: { commonName: "kube-apiserver" },
    publicKey: key,
    ipSans: ["127.0.0.1", ...names.filter((name) => isIP(name) !== 0)],
    dnsSans: names.filter((name) => isIP(name) === 0),
    extendedKeyUsages: ["serverAuth"],
    ...validity,
  });
  return { key: privateKeyToPem(key), cert: toPem([leaf]), caPem: toPem([certificate]) };
}

interface Trust {
  readonly issuer: string;
  readonly findKey: JWTVerifyGetKey;
}

interface User {
  readonly username: string;
  readonly uid: string;
  readonly audiences: readonly string[];
}

/** The account of a token, or undefined when it is not good for any of `audiences`. */
async function review(
  { issuer, findKey }: Trust,
  token: string,
  audiences: readonly string[],
): Promise<User | undefined> {
  try {
    const { payload } = await jwtVerify(token, findKey, { issuer, audience: [...audiences] });
    const { serviceaccount } = payload["kubernetes.io"] as { serviceaccount: { uid: string } };
    const common = [payload.aud ?? []].flat().filter((audience) => audiences.includes(audience));
    return { username: payload.sub ?? "", uid: serviceaccount.uid, audiences: common };
  } catch {
    return undefined;
  }
}

async function answer(trust: Trust, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const bearer = /^Bearer (?<token>.+)$/.exec(request.headers.authorization ?? "")?.groups?.["token"] ?? "";
  const caller = await review(trust, bearer, [trust.issuer]);
  if (!caller) return refuse(response, 401, "Unauthorized");
  const reviewer = `system:serviceaccount:${REVIEWER.namespace}:${REVIEWER.serviceAccount}`;
  if (caller.username !== reviewer) return refuse(response, 403, "Forbidden");
  if (request.method !== "POST" || request.url !== "/apis/authentication.k8s.io/v1/tokenreviews") {
    return refuse(response, 404, "NotFound");
  }
  const { spec } = (await json(request)) as { spec: { token: string; audiences?: string[] } };
  const user = await review(trust, spec.token, spec.audiences ?? [trust.issuer]);
  const status = user
    ? { authenticated: true, user: { username: user.username, uid: user.uid }, audiences: user.audiences }
    : { authenticated: false, error: "token is not valid" };
  send(response, 201, { kind: "TokenReview", apiVersion: "authentication.k8s.io/v1", metadata: {}, spec, status });
}

function refuse(response: ServerResponse, code: number, reason: string): void {
  send(response, code, {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: reason,
    reason,
    code,
  });
}

function send(response: ServerResponse, code: number, body: object): void {
  response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(body));
}
