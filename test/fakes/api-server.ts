import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { createLocalJWKSet, jwtVerify } from "jose";
import type { HostPort } from "../../common/runtime/settings.ts";
import { servingIdentity } from "../../demo/token-review.ts";
import { FakeServiceAccounts } from "./service-accounts.ts";

/** One right: "create serviceaccounts/token istio-system/istiod" to an account "istio-system/istiod". */
export interface FakeGrant {
  readonly account: string;
  readonly verb: string;
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
}

interface FakePod {
  readonly uid: string;
  /** "namespace/name". */
  readonly account: string;
}

type Answer = readonly [status: number, body: object];

const ADDRESS = /^\/api\/v1\/namespaces\/(?<namespace>[^/]+)\/(?<resource>[a-z]+)\/(?<name>[^/]+)(?<sub>\/token)?$/;

/**
 * What a pod's few calls see of an API server: TokenRequest, ConfigMaps, Secrets, and RBAC by name. It passes the same
 * contract suite as a real one.
 */
export class FakeApiServer implements AsyncDisposable {
  readonly address: HostPort;
  /** PEM that verifies it. */
  readonly caPem: string;
  readonly accounts: FakeServiceAccounts;
  /** By "namespace/name". */
  readonly serviceAccounts = new Set<string>();
  readonly pods = new Map<string, FakePod>();
  /** By "configmaps namespace/name" and "secrets namespace/name"; values of Secrets in base64. */
  readonly objects = new Map<string, Readonly<Record<string, string>>>();
  /** "POST /api/v1/…" of each request so far. */
  readonly requests: string[] = [];
  /** No token lives longer, whatever was asked for. */
  longestSeconds = Infinity;
  readonly #grants = new Set<string>();
  readonly #verify: (token: string) => Promise<string>;
  readonly #close: () => Promise<void>;

  private constructor(parts: {
    accounts: FakeServiceAccounts;
    verify: (token: string) => Promise<string>;
    caPem: string;
    address: HostPort;
    close: () => Promise<void>;
  }) {
    this.accounts = parts.accounts;
    this.address = parts.address;
    this.caPem = parts.caPem;
    this.#verify = parts.verify;
    this.#close = parts.close;
  }

  /** Starts one on a port of loopback, by default a free one. */
  static async start(accounts?: FakeServiceAccounts, port = 0): Promise<FakeApiServer> {
    const signer = accounts ?? (await FakeServiceAccounts.create());
    const { caPem, ...identity } = await servingIdentity([]);
    const findKey = createLocalJWKSet(await signer.jwks());
    const server = createServer(identity, (request, response) => {
      void api.#serve(request, response).catch(() => response.destroy());
    });
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    const close = async (): Promise<void> => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    };
    const verify = async (token: string): Promise<string> =>
      (await jwtVerify(token, findKey, { issuer: signer.issuer, audience: signer.issuer })).payload.sub ?? "";
    const address = { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
    const api = new FakeApiServer({ accounts: signer, verify, caPem, address, close });
    return api;
  }

  grant(grant: FakeGrant): void {
    this.#grants.add(keyOf(grant));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests.push(`${request.method ?? ""} ${request.url ?? ""}`);
    const [status, body] = await this.#answer(request);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    const bearer = /^Bearer (?<token>.+)$/.exec(request.headers.authorization ?? "")?.groups?.["token"] ?? "";
    const user = await this.#verify(bearer).catch(() => undefined);
    if (user === undefined) return refusal(401, "Unauthorized");
    const { namespace = "", resource = "", name = "", sub = "" } = ADDRESS.exec(request.url ?? "")?.groups ?? {};
    const verb = request.method === "POST" ? "create" : "get";
    const account = user.replace("system:serviceaccount:", "").replace(":", "/");
    if (!this.#grants.has(keyOf({ account, verb, resource: resource + sub, namespace, name }))) {
      const denied = `User "${user}" cannot ${verb} resource "${resource}${sub}"`;
      const where = `in API group "" in the namespace "${namespace}"`;
      return refusal(403, `${resource} "${name}" is forbidden: ${denied} ${where}`);
    }
    if (sub !== "") return this.#token(`${namespace}/${name}`, (await json(request)) as TokenRequest);
    const data = this.objects.get(`${resource} ${namespace}/${name}`);
    return data ? [200, { metadata: { namespace, name }, data }] : notFound(resource, name);
  }

  async #token(key: string, { spec }: TokenRequest): Promise<Answer> {
    const [namespace = "", serviceAccount = ""] = key.split("/");
    const { audiences, expirationSeconds, boundObjectRef: ref } = spec;
    if (!this.serviceAccounts.has(key)) return notFound("serviceaccounts", serviceAccount);
    if (expirationSeconds < 600) return refusal(422, "spec.expirationSeconds: Invalid value: less than 10 minutes");
    const account = { name: serviceAccount, uid: "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee" };
    const claims: Record<string, unknown> = { namespace, serviceaccount: account };
    if (ref) {
      const pod = this.pods.get(`${namespace}/${ref.name}`);
      if (!pod) return notFound("pods", ref.name);
      if (pod.account !== key) return refusal(400, `cannot bind token for serviceaccount "${serviceAccount}"`);
      if ((ref.uid ?? pod.uid) !== pod.uid) return refusal(409, "the UID does not match");
      claims["pod"] = { name: ref.name, uid: pod.uid };
    }
    const lifeSeconds = Math.min(expirationSeconds, this.longestSeconds);
    const token = await this.accounts.sign({
      ...{ namespace, serviceAccount, audience: audiences[0] ?? this.accounts.issuer },
      claims: { "kubernetes.io": claims },
      expiresAtMs: Date.now() + lifeSeconds * 1000,
    });
    return [201, { kind: "TokenRequest", spec: { ...spec, expirationSeconds: lifeSeconds }, status: { token } }];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}

interface TokenRequest {
  readonly spec: {
    readonly audiences: readonly string[];
    readonly expirationSeconds: number;
    readonly boundObjectRef?: { readonly name: string; readonly uid?: string };
  };
}

const keyOf = ({ account, verb, resource, namespace, name }: FakeGrant): string =>
  [account, verb, resource, namespace, name].join(" ");

const refusal = (code: number, message: string): Answer => [code, { kind: "Status", status: "Failure", message, code }];

const notFound = (resource: string, name: string): Answer => refusal(404, `${resource} "${name}" not found`);
