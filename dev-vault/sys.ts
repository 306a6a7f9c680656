import { createMount, type Mount, rulesOf, type VaultState } from "./state.ts";
import { kubernetesBackend } from "./kubernetes-auth.ts";
import { pkiBackend } from "./pki.ts";
import { capabilitiesAt, parsePolicy } from "./policy.ts";
import { absent, type Backend, invalid, listReply, type Reply, type Route, type VaultRequest } from "./protocol.ts";
import { SYSTEM_MAX_TTL_S } from "./tokens.ts";

/** What is mounted at `sys`. */
export function sysBackend(state: VaultState): Backend {
  return {
    type: "system",
    routes: [
      ...sealRoutes(state),
      { pattern: /^mounts$/, read: () => ({ data: describeMounts(state.secrets) }) },
      {
        pattern: /^mounts\/(?<path>.+)\/tune$/,
        read: ({ params }) => readTuning(tunable(state, params["path"])),
        update: ({ params, fields }) => tune(tunable(state, params["path"]), fields),
      },
      {
        pattern: /^mounts\/(?<path>.+)$/,
        read: ({ params }) => ({ data: describe(mounted(state, params["path"])) }),
        update: (request) => enable(state, state.secrets, request),
        delete: (request) => disable(state.secrets, request),
      },
      { pattern: /^auth$/, sudo: false, read: () => ({ data: describeMounts(state.auths) }) },
      {
        pattern: /^auth\/(?<path>.+)$/,
        sudo: true,
        update: (request) => enable(state, state.auths, request),
        delete: (request) => disable(state.auths, request),
      },
      ...policyRoutes(state),
      { pattern: /^capabilities-self$/, update: (request) => capabilities(state, request) },
    ],
  };
}

/** The key that unseals is the root token: this server keeps nothing that a seal could protect. */
function sealRoutes(state: VaultState): Route[] {
  return [
    {
      pattern: /^health$/,
      open: true,
      read: () => ({ bare: { status: state.sealed ? 503 : 200, body: health(state) } }),
    },
    { pattern: /^seal-status$/, open: true, read: () => ({ bare: { status: 200, body: sealStatus(state) } }) },
    {
      pattern: /^seal$/,
      sudo: true,
      update: () => {
        state.sealed = true;
        state.log.warn("sealed");
        return undefined;
      },
    },
    {
      pattern: /^unseal$/,
      open: true,
      update: ({ fields }) => {
        const key = fields.text("key");
        if (key === undefined) throw invalid("'key' must be specified in request body as JSON, or 'reset' set to true");
        if (key !== state.rootToken) throw invalid("unable to retrieve stored keys: invalid key");
        state.sealed = false;
        state.log.info("unsealed");
        return { bare: { status: 200, body: sealStatus(state) } };
      },
    },
  ];
}

const VERSION = "1.21.0";

function health({ sealed, clock }: VaultState): Readonly<Record<string, unknown>> {
  const replication = sealed ? "unknown" : "disabled";
  return {
    initialized: true,
    sealed,
    standby: sealed,
    performance_standby: false,
    replication_performance_mode: replication,
    replication_dr_mode: replication,
    server_time_utc: Math.floor(clock.now() / 1000),
    version: VERSION,
    enterprise: false,
    ...(sealed ? {} : CLUSTER),
    echo_duration_ms: 0,
    clock_skew_ms: 0,
    replication_primary_canary_age_ms: 0,
  };
}

const CLUSTER = { cluster_name: "mesh-relay-dev-vault", cluster_id: "00000000-0000-0000-0000-000000000000" };

function sealStatus({ sealed }: VaultState): Readonly<Record<string, unknown>> {
  return {
    type: "shamir",
    initialized: true,
    sealed,
    t: 1,
    n: 1,
    progress: 0,
    nonce: "",
    version: VERSION,
    migration: false,
    ...(sealed ? {} : CLUSTER),
    recovery_seal: false,
    storage_type: "inmem",
  };
}

function describe({ backend, description, accessor, uuid, tuning }: Mount): Readonly<Record<string, unknown>> {
  return {
    accessor,
    config: {
      default_lease_ttl: tuning.defaultLeaseTtlS,
      force_no_cache: false,
      max_lease_ttl: tuning.maxLeaseTtlS,
    },
    description,
    external_entropy_access: false,
    local: false,
    options: {},
    seal_wrap: false,
    type: backend.type,
    uuid,
  };
}

function describeMounts(mounts: ReadonlyMap<string, Mount>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Array.from(mounts, ([path, mount]) => [path, describe(mount)]));
}

function mounted(state: VaultState, path: string | undefined): Mount {
  const mount = state.secrets.get(`${path ?? ""}/`);
  if (!mount) throw invalid(`No secret engine mount at ${path ?? ""}/`);
  return mount;
}

function tunable(state: VaultState, path: string | undefined): Mount {
  const mount = state.secrets.get(`${path ?? ""}/`);
  if (!mount) throw invalid(`tune of path "${path ?? ""}/" failed: no mount entry found`);
  return mount;
}

function readTuning({ description, tuning }: Mount): Reply {
  return {
    data: {
      default_lease_ttl: tuning.defaultLeaseTtlS || SYSTEM_MAX_TTL_S,
      description,
      force_no_cache: false,
      max_lease_ttl: tuning.maxLeaseTtlS || SYSTEM_MAX_TTL_S,
    },
  };
}

function tune({ tuning }: Mount, fields: VaultRequest["fields"]): undefined {
  tuning.defaultLeaseTtlS = fields.seconds("default_lease_ttl") ?? tuning.defaultLeaseTtlS;
  tuning.maxLeaseTtlS = fields.seconds("max_lease_ttl") ?? tuning.maxLeaseTtlS;
}

function enable(state: VaultState, mounts: Map<string, Mount>, { params, fields }: VaultRequest): undefined {
  const path = `${params["path"] ?? ""}/`;
  const type = fields.text("type") ?? "";
  const taken = Array.from(mounts.keys()).find((other) => path.startsWith(other) || other.startsWith(path));
  if (taken !== undefined) throw invalid(`path is already in use at ${taken}`);
  const config = fields.group("config");
  const tuning = {
    defaultLeaseTtlS: config.seconds("default_lease_ttl") ?? 0,
    maxLeaseTtlS: config.seconds("max_lease_ttl") ?? 0,
  };
  const backend = backendOf(state, { type, path, auth: mounts === state.auths, tuning });
  mounts.set(path, createMount(backend, fields.text("description") ?? "", tuning));
}

interface NewMount {
  readonly type: string;
  readonly path: string;
  readonly auth: boolean;
  readonly tuning: Mount["tuning"];
}

function backendOf(state: VaultState, { type, path, auth, tuning }: NewMount): Backend {
  if (type === "pki" && !auth) return pkiBackend({ clock: state.clock, tuning });
  if (type === "kubernetes" && auth) return kubernetesBackend({ ...state, path });
  throw invalid(`plugin not found in the catalog: ${type}`);
}

function disable(mounts: Map<string, Mount>, { params }: VaultRequest): undefined {
  const path = `${params["path"] ?? ""}/`;
  if (path === "sys/" || path === "token/") throw invalid(`cannot unmount "${path}"`);
  mounts.delete(path);
}

function policyRoutes(state: VaultState): Route[] {
  const names = (): string[] => [...state.policies.keys(), "root"].sort();
  const textOf = ({ params }: VaultRequest): { name: string; text: string } => {
    const name = (params["name"] ?? "").toLowerCase();
    const text = name === "root" ? "" : state.policies.get(name);
    if (text === undefined) throw absent();
    return { name, text };
  };
  const changes: Partial<Route> = {
    update: (request) => writePolicy(state, request),
    delete: ({ params }) => {
      state.policies.delete((params["name"] ?? "").toLowerCase());
      return undefined;
    },
  };
  const read = (request: VaultRequest, field: "policy" | "rules"): Reply => {
    const { name, text } = textOf(request);
    return { data: { name, [field]: text } };
  };
  return [
    { pattern: /^policies\/acl$/, list: () => listReply(names()) },
    { pattern: /^policies\/acl\/(?<name>[^/]+)$/, read: (request) => read(request, "policy"), ...changes },
    { pattern: /^policy$/, read: () => ({ data: { keys: names(), policies: names() } }) },
    { pattern: /^policy\/(?<name>[^/]+)$/, read: (request) => read(request, "rules"), ...changes },
  ];
}

function writePolicy(state: VaultState, { params, fields }: VaultRequest): undefined {
  const name = (params["name"] ?? "").toLowerCase();
  const text = fields.text("policy");
  if (name === "root") throw invalid('cannot update "root" policy');
  if (text === undefined) throw invalid("'policy' parameter not supplied or empty");
  parsePolicy(text);
  state.policies.set(name, text);
}

function capabilities(state: VaultState, { fields, token }: VaultRequest): Reply {
  const paths = fields.list("paths") ?? fields.list("path") ?? [];
  const at = (path: string): readonly string[] => {
    if (!token) return ["deny"];
    return token.policies.includes("root") ? ["root"] : capabilitiesAt(rulesOf(state, token), path);
  };
  return { data: Object.fromEntries(paths.map((path) => [path, at(path)])) };
}
