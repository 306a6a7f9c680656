import type { Clock } from "../common/runtime/clock.ts";
import type { Log } from "../common/runtime/log.ts";
import { absent, invalid, type Reply, type VaultRequest } from "./protocol.ts";
import type { TokenStore } from "./tokens.ts";

/** Where tokens are reviewed. */
export interface Config {
  readonly host: string;
  readonly caCert: string;
  readonly reviewerJwt: string | undefined;
}

/** Who may log in, and what token that gives. Times to live are seconds, 0 for not set. */
export interface Role {
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

/** What the method needs of the server. */
export interface KubernetesAuthOptions {
  readonly tokens: TokenStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Where it is mounted below `auth/`, with a slash at its end. */
  readonly path: string;
}

/** One kubernetes auth method with what was written into it. */
export interface Method extends KubernetesAuthOptions {
  config: Config | undefined;
  readonly roles: Map<string, Role>;
}

export function writeConfig(method: Method, { fields }: VaultRequest): undefined {
  const host = fields.text("kubernetes_host");
  const caCert = fields.text("kubernetes_ca_cert") ?? "";
  if (host === undefined) throw invalid("no host provided");
  if (caCert !== "" && !caCert.includes("-----BEGIN CERTIFICATE-----")) {
    throw invalid("The provided CA PEM data contains no valid certificates");
  }
  method.config = { host, caCert, reviewerJwt: fields.text("token_reviewer_jwt") };
}

export function readConfig({ config }: Method): Reply {
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
export function writeRole({ roles }: Method, { params, fields }: VaultRequest): Reply | undefined {
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

export function readRole({ roles }: Method, { params }: VaultRequest): Reply {
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
