import { invalid, type Route } from "./protocol.ts";
import type { VaultState } from "./state.ts";

/** Health and seal. The key that unseals is the root token: this server keeps nothing that a seal could protect. */
export function sealRoutes(state: VaultState): Route[] {
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
