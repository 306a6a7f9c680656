import { Counter, Gauge, Histogram, type Registry } from "../common/runtime/metrics.ts";
import type { AgentParts } from "./parts.ts";
import type { RelayClientObserver } from "./relay/relay-client.ts";

/** What the metrics are read from, at the moment of each scrape. */
export type AgentMetricSources = Pick<AgentParts, "home" | "leader">;

const APPLY_SECONDS = [0.005, 0.02, 0.1, 0.5, 2, 10];

/** Registers what the agent counts of its session with the server. */
export function relayClientObserver(registry: Registry): RelayClientObserver {
  const reconnects = new Counter({
    name: "mesh_relay_agent_reconnects_total",
    help: "Sessions, and attempts at one, that have ended and are tried again, by the code of why",
    labelNames: ["reason"],
    registers: [registry],
  });
  const applied = new Histogram({
    name: "mesh_relay_agent_apply_seconds",
    help: "From a push until it is stored, or refused",
    buckets: APPLY_SECONDS,
    registers: [registry],
  });
  return { reconnect: (reason) => reconnects.inc({ reason }), applied: (ms) => applied.observe(ms / 1000) };
}

/** Registers the agent's metrics (docs/metrics.md). */
export function registerAgentMetrics(registry: Registry, { home, leader }: AgentMetricSources): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  const held = (): readonly { detached: boolean }[] => home.intent.certificates.value ?? [];
  const state = () => leader.parts.value?.relay.state.value;
  gauge("mesh_relay_agent_leader", "1 at the replica that speaks with the management server, 0 at the others", () =>
    home.leadership.leading.value ? 1 : 0,
  );
  gauge("mesh_relay_agent_connected", "1 while the session with the management server is open", () =>
    state()?.kind === "connected" ? 1 : 0,
  );
  gauge("mesh_relay_agent_clock_offset_seconds", "The management server's clock minus this one", () => {
    const value = state();
    return value?.kind === "connected" ? value.clockOffsetMs / 1000 : 0;
  });
  gauge(
    "mesh_relay_agent_certificate_not_after_seconds",
    "End of the client certificate's life, as unix time; 0 before enrolment, and at a replica that does not lead",
    () => (leader.parts.value?.identity.credentials.value?.notAfterMs ?? 0) / 1000,
  );
  gauge("mesh_relay_agent_issued_certificates", "IssuedCertificates in force", () => held().length);
  gauge(
    "mesh_relay_agent_detached_certificates",
    "IssuedCertificates in force although the intent does not hold them any more",
    () => held().filter(({ detached }) => detached).length,
  );
}
