import { kubernetesBackend } from "./kubernetes-auth.ts";
import { pkiBackend } from "./pki.ts";
import { type Backend, invalid, type Reply, type VaultRequest } from "./protocol.ts";
import { createMount, type Mount, type VaultState } from "./state.ts";
import { policyRoutes } from "./sys-policies.ts";
import { sealRoutes } from "./sys-seal.ts";
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
      { pattern: /^auth$/, read: () => ({ data: describeMounts(state.auths) }) },
      {
        pattern: /^auth\/(?<path>.+)$/,
        sudo: true,
        update: (request) => enable(state, state.auths, request),
        delete: (request) => disable(state.auths, request),
      },
      ...policyRoutes(state),
    ],
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

function backendOf({ tokens, clock, log }: VaultState, { type, path, auth, tuning }: NewMount): Backend {
  if (type === "pki" && !auth) return pkiBackend({ clock, tuning });
  if (type === "kubernetes" && auth) return kubernetesBackend({ tokens, clock, log, path });
  throw invalid(`plugin not found in the catalog: ${type}`);
}

function disable(mounts: Map<string, Mount>, { params }: VaultRequest): undefined {
  const path = `${params["path"] ?? ""}/`;
  if (path === "sys/" || path === "token/") throw invalid(`cannot unmount "${path}"`);
  mounts.delete(path);
}
