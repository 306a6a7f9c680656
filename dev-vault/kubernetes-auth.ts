import { MeshError } from "../common/runtime/errors.ts";
import {
  type Config,
  type KubernetesAuthOptions,
  type Method,
  readConfig,
  readRole,
  type Role,
  writeConfig,
  writeRole,
} from "./kubernetes-roles.ts";
import { type Backend, invalid, listReply, type Reply, VaultError, type VaultRequest } from "./protocol.ts";
import { type ReviewedAccount, reviewToken } from "./token-review.ts";
import { authOf } from "./tokens.ts";

/** The kubernetes auth method: a login is a service account's JWT, judged by the API server's TokenReview. */
export function kubernetesBackend(options: KubernetesAuthOptions): Backend {
  const method: Method = { ...options, config: undefined, roles: new Map() };
  return {
    type: "kubernetes",
    routes: [
      { pattern: /^config$/, read: () => readConfig(method), update: (request) => writeConfig(method, request) },
      { pattern: /^role$/, list: () => listReply(Array.from(method.roles.keys())) },
      {
        pattern: /^role\/(?<name>[^/]+)$/,
        read: (request) => readRole(method, request),
        update: (request) => writeRole(method, request),
        delete: ({ params }) => {
          method.roles.delete(params["name"] ?? "");
          return undefined;
        },
      },
      { pattern: /^login$/, open: true, update: (request) => login(method, request) },
    ],
  };
}

async function login(method: Method, { fields }: VaultRequest): Promise<Reply> {
  const roleName = required(fields.text("role"), "role");
  const jwt = required(fields.text("jwt"), "jwt");
  const role = method.roles.get(roleName);
  if (!role) throw invalid(`invalid role name "${roleName}"`);
  if (!method.config) throw new VaultError(500, "could not load backend configuration", { fault: true });
  const claims = readClaims(jwt);
  checkClaims(claims, role, method.clock.now());
  const account = await review(method, method.config, { jwt, claims, audience: role.audience });
  const policies = new Set([...role.policies, ...(role.noDefaultPolicy ? [] : ["default"])]);
  const granted = method.tokens.create({
    policies: Array.from(policies).sort(),
    displayName: `${method.path.slice(0, -1)}-${account.namespace}-${account.name}`,
    path: `auth/${method.path}login`,
    meta: {
      role: roleName,
      service_account_name: account.name,
      service_account_namespace: account.namespace,
      service_account_secret_name: "",
      service_account_uid: account.uid,
    },
    ttlS: role.ttlS,
    maxTtlS: role.maxTtlS,
    explicitMaxTtlS: role.explicitMaxTtlS,
    periodS: role.periodS,
    renewable: true,
    entityId: account.uid,
  });
  return { auth: authOf(granted), warnings: granted.warnings };
}

function required(value: string | undefined, name: string): string {
  if (value === undefined) throw invalid(`missing ${name}`);
  return value;
}

interface Claims extends ReviewedAccount {
  readonly audiences: readonly string[];
  readonly expiresAtS: number | undefined;
}

/** Reads a JWT and believes nothing of it yet: the review does that. */
function readClaims(jwt: string): Claims {
  try {
    const claims = JSON.parse(Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString()) as {
      aud?: string | string[];
      exp?: number;
      "kubernetes.io"?: { namespace?: string; serviceaccount?: { name?: string; uid?: string } };
    };
    const { namespace = "", serviceaccount } = claims["kubernetes.io"] ?? {};
    const account = { namespace, name: serviceaccount?.name ?? "", uid: serviceaccount?.uid ?? "" };
    return { ...account, audiences: [claims.aud ?? []].flat(), expiresAtS: claims.exp };
  } catch {
    throw new VaultError(403, "permission denied");
  }
}

/** Vault takes a token as alive for this long after its end; the API server that reviews it does not. */
const CLOCK_SKEW_MS = 60_000;

function checkClaims(claims: Claims, role: Role, nowMs: number): void {
  const { expiresAtS = Infinity, audiences, name, namespace } = claims;
  if (expiresAtS * 1000 + CLOCK_SKEW_MS < nowMs) {
    throw new VaultError(403, "invalid expiration time (exp) claim: token is expired");
  }
  if (role.audience !== undefined && !audiences.includes(role.audience)) {
    const fault = "audience claim does not match any expected audience";
    throw new VaultError(403, `invalid audience (aud) claim: ${fault}`);
  }
  if (!matchesAny(role.names, name)) throw new VaultError(403, "service account name not authorized");
  if (!matchesAny(role.namespaces, namespace)) throw new VaultError(403, "namespace not authorized");
}

function matchesAny(globs: readonly string[], value: string): boolean {
  const escape = (text: string): string => text.replace(/[\\^$.+?()[\]{}|]/g, "\\$&");
  return globs.some((glob) => new RegExp(`^${glob.split("*").map(escape).join(".*")}$`).test(value));
}

interface ReviewCase {
  readonly jwt: string;
  readonly claims: Claims;
  readonly audience: string | undefined;
}

/** Like Vault it tells the caller nothing of why; the reason goes to the log. */
async function review(method: Method, config: Config, { jwt, claims, audience }: ReviewCase): Promise<ReviewedAccount> {
  const reviewer = { host: config.host, caCertPem: config.caCert || undefined, bearer: config.reviewerJwt ?? jwt };
  try {
    const account = await reviewToken(reviewer, jwt, audience === undefined ? claims.audiences : [audience]);
    const same = account.name === claims.name && account.namespace === claims.namespace && account.uid === claims.uid;
    if (!same) throw new MeshError("unauthenticated", "token review: another account than the token's claims say");
    return account;
  } catch (error) {
    method.log.warn("login refused", { err: error });
    throw new VaultError(403, "permission denied");
  }
}
