import type { Clock } from "../common/runtime/clock.ts";
import { MeshError } from "../common/runtime/errors.ts";
import type { Log } from "../common/runtime/log.ts";
import { type Backend, absent, invalid, listReply, type Reply, VaultError, type VaultRequest } from "./protocol.ts";
import { type ReviewedAccount, reviewToken } from "./token-review.ts";
import { authOf, type TokenStore } from "./tokens.ts";

interface Config {
  readonly host: string;
  readonly caCert: string;
  readonly reviewerJwt: string | undefined;
}

interface Role {
  readonly names: readonly string[];
  readonly namespaces: readonly string[];
  readonly audience: string | undefined;
  readonly policies: readonly string[];
  readonly ttlS: number;
  readonly maxTtlS: number;
  readonly explicitMaxTtlS: number;
  readonly periodS: number;
  readonly noDefaultPolicy: boolean;
}

export interface KubernetesAuthOptions {
  readonly tokens: TokenStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Where it is mounted below `auth/`, with a slash at its end. */
  readonly path: string;
}

interface Method extends KubernetesAuthOptions {
  config: Config | undefined;
  readonly roles: Map<string, Role>;
}

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

function writeConfig(method: Method, { fields }: VaultRequest): undefined {
  const host = fields.text("kubernetes_host");
  const caCert = fields.text("kubernetes_ca_cert") ?? "";
  if (host === undefined) throw invalid("no host provided");
  if (caCert !== "" && !caCert.includes("-----BEGIN CERTIFICATE-----")) {
    throw invalid("The provided CA PEM data contains no valid certificates");
  }
  method.config = { host, caCert, reviewerJwt: fields.text("token_reviewer_jwt") };
}

function readConfig({ config }: Method): Reply {
  if (!config) throw absent();
  return {
    data: {
      disable_iss_validation: true,
      disable_local_ca_jwt: false,
      issuer: "",
      kubernetes_ca_cert: config.caCert,
      kubernetes_host: config.host,
      pem_keys: [],
      token_reviewer_jwt_set: config.reviewerJwt !== undefined,
      use_annotations_as_alias_metadata: false,
    },
  };
}

const NEW_ROLE: Role = {
  names: [],
  namespaces: [],
  audience: undefined,
  policies: [],
  ttlS: 0,
  maxTtlS: 0,
  explicitMaxTtlS: 0,
  periodS: 0,
  noDefaultPolicy: false,
};

/** Fields that are not given keep their value. */
function writeRole({ roles }: Method, { params, fields }: VaultRequest): Reply | undefined {
  const name = params["name"] ?? "";
  const old = roles.get(name) ?? NEW_ROLE;
  const seconds = (field: string): number | undefined => fields.seconds(`token_${field}`) ?? fields.seconds(field);
  const role: Role = {
    names: fields.list("bound_service_account_names") ?? old.names,
    namespaces: fields.list("bound_service_account_namespaces") ?? old.namespaces,
    audience: fields.text("audience") ?? old.audience,
    policies: fields.list("token_policies") ?? fields.list("policies") ?? old.policies,
    ttlS: seconds("ttl") ?? old.ttlS,
    maxTtlS: seconds("max_ttl") ?? old.maxTtlS,
    explicitMaxTtlS: seconds("explicit_max_ttl") ?? old.explicitMaxTtlS,
    periodS: seconds("period") ?? old.periodS,
    noDefaultPolicy: fields.flag("token_no_default_policy") ?? old.noDefaultPolicy,
  };
  checkRole(role);
  roles.set(name, role);
  if (role.audience !== undefined) return undefined;
  const advice = "While audiences are not required, consider specifying one if your use case would benefit from";
  return {
    warnings: [`Role ${name} does not have an audience configured. ${advice} additional JWT claim verification.`],
  };
}

function checkRole({ names, namespaces, ttlS, maxTtlS }: Role): void {
  if (names.length === 0) throw invalid('"bound_service_account_names" can not be empty');
  if (namespaces.length === 0) {
    const selector = "bound_service_account_namespace_selector";
    throw invalid(`"bound_service_account_namespaces" can not be empty if "${selector}" is not set`);
  }
  for (const list of [names, namespaces]) {
    if (list.length > 1 && list.includes("*")) throw invalid('can not mix "*" with values');
  }
  if (maxTtlS > 0 && ttlS > maxTtlS) throw invalid("token ttl should not be greater than token max ttl");
}

function readRole({ roles }: Method, { params }: VaultRequest): Reply {
  const role = roles.get(params["name"] ?? "");
  if (!role) throw absent();
  return {
    data: {
      alias_name_source: "serviceaccount_uid",
      ...(role.audience === undefined ? {} : { audience: role.audience }),
      bound_service_account_names: role.names,
      bound_service_account_namespace_selector: "",
      bound_service_account_namespaces: role.namespaces,
      token_bound_cidrs: [],
      token_explicit_max_ttl: role.explicitMaxTtlS,
      token_max_ttl: role.maxTtlS,
      token_no_default_policy: role.noDefaultPolicy,
      token_num_uses: 0,
      token_period: role.periodS,
      token_policies: role.policies,
      token_ttl: role.ttlS,
      token_type: "default",
    },
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
