import { type Backend, type Reply, VaultError, type VaultRequest } from "./protocol.ts";
import { authOf, type Token, type TokenStore } from "./tokens.ts";

/** What is mounted at `auth/token`; `policies` are those that exist. */
export function tokenBackend(tokens: TokenStore, policies: ReadonlyMap<string, string>): Backend {
  return {
    type: "token",
    routes: [
      {
        pattern: /^lookup-self$/,
        read: (request) => lookup(tokens, request),
        update: (request) => lookup(tokens, request),
      },
      { pattern: /^renew-self$/, update: (request) => renew(tokens, request) },
      {
        pattern: /^revoke-self$/,
        update: (request) => {
          tokens.revoke(callerOf(request));
          return undefined;
        },
      },
      { pattern: /^create(-orphan)?$/, update: (request) => create({ tokens, known: policies }, request) },
    ],
  };
}

function callerOf({ token }: VaultRequest): Token {
  if (!token) throw new VaultError(403, "permission denied");
  return token;
}

function lookup(tokens: TokenStore, request: VaultRequest): Reply {
  const token = callerOf(request);
  const renewed = token.renewedAtMs;
  return {
    data: {
      accessor: token.accessor,
      creation_time: seconds(token.createdAtMs),
      creation_ttl: token.creationTtlS,
      display_name: token.displayName,
      entity_id: token.entityId,
      expire_time: token.expiresAtMs === Infinity ? null : new Date(token.expiresAtMs).toISOString(),
      explicit_max_ttl: token.explicitMaxTtlS,
      id: token.id,
      issue_time: new Date(token.createdAtMs).toISOString(),
      ...(renewed === undefined
        ? {}
        : { last_renewal: new Date(renewed).toISOString(), last_renewal_time: seconds(renewed) }),
      meta: token.meta,
      num_uses: 0,
      orphan: token.parent === undefined,
      path: token.path,
      policies: token.policies,
      ...(token.periodS > 0 ? { period: token.periodS } : {}),
      renewable: token.renewable,
      ttl: tokens.ttlS(token),
      type: "service",
    },
  };
}

function renew(tokens: TokenStore, request: VaultRequest): Reply {
  const granted = tokens.renew(callerOf(request), request.fields.seconds("increment"));
  // Vault says so of every renewed token, orphan or not.
  return { auth: authOf(granted, false), warnings: granted.warnings };
}

interface Issuing {
  readonly tokens: TokenStore;
  readonly known: ReadonlyMap<string, string>;
}

function create({ tokens, known }: Issuing, request: VaultRequest): Reply {
  const { fields } = request;
  const parent = callerOf(request);
  const policies = new Set(fields.list("policies") ?? parent.policies);
  if (!fields.flag("no_default_policy") && !policies.has("root")) policies.add("default");
  const granted = tokens.create({
    policies: Array.from(policies).sort(),
    displayName: ["token", fields.text("display_name")].filter(Boolean).join("-"),
    path: "auth/token/create",
    meta: null,
    ...(fields.flag("no_parent") ? {} : { parent }),
    ttlS: fields.seconds("ttl") ?? 0,
    maxTtlS: 0,
    explicitMaxTtlS: fields.seconds("explicit_max_ttl") ?? 0,
    periodS: fields.seconds("period") ?? 0,
    renewable: fields.flag("renewable") ?? true,
    entityId: "",
  });
  const unknown = granted.token.policies.filter((name) => name !== "root" && !known.has(name));
  const warnings = unknown.map((name) => `Policy "${name}" does not exist`);
  return { auth: authOf(granted), warnings: [...warnings, ...granted.warnings] };
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}
