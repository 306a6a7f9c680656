import { Counter, Gauge, Histogram, type Registry } from "../common/runtime/metrics.ts";
import { certificateFacts } from "../common/pki/certificate.ts";
import { MeshError } from "../common/runtime/errors.ts";
import type { RelayPki } from "./identity/pki.ts";
import type { Agents } from "./relay/agents.ts";
import type { RelayObserver } from "./relay/observer.ts";

const PUSH_BYTES = [1_024, 10 * 1_024, 100 * 1_024, 1_024 * 1_024, 4 * 1_024 * 1_024];
const CONVERGENCE_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** Counts what is asked of the server's gRPC listeners, by method and outcome. */
export function callCounter(metrics: Registry): (method: string, code: string) => void {
  const counter = new Counter({
    name: "mesh_relay_calls_total",
    help: "Calls that have ended, by method and gRPC status; a method that is not served counts as other",
    labelNames: ["method", "code"],
    registers: [metrics],
  });
  return (method, code) => counter.inc({ method, code });
}

/** Registers what the relay counts (docs/metrics.md). No label names a cluster: there may be ten thousand. */
export function relayObserver(metrics: Registry): RelayObserver {
  const registers = [metrics];
  const counter = (name: string, help: string, ...labelNames: string[]) =>
    new Counter({ name: `mesh_relay_${name}`, help, labelNames, registers });
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name: `mesh_relay_${name}`, help, buckets, registers });
  const connects = counter("connects_total", "Sessions asked for, by outcome: ok, or why it was refused", "outcome");
  const ends = counter("session_ends_total", "Sessions that have ended, by reason: left, or why they were", "reason");
  const pushes = counter("pushes_total", "Pushes sent, by kind: difference or whole_set", "kind");
  const bytes = histogram("push_bytes", "Size of a push, encoded", PUSH_BYTES);
  const results = counter(
    "push_results_total",
    "Resources that agents answered for: applied, pending, or why they were refused",
    "outcome",
  );
  const mismatches = counter(
    "digest_mismatches_total",
    "Pushes after which an agent held something else than it was known to hold; a whole set follows",
  );
  const convergence = histogram(
    "convergence_seconds",
    "From a change, or from the start of the session, until the agent holds all it shall",
    CONVERGENCE_SECONDS,
  );
  return {
    connect: (outcome) => connects.inc({ outcome }),
    disconnect: (reason) => ends.inc({ reason }),
    push: (kind, size) => {
      pushes.inc({ kind });
      bytes.observe(size);
    },
    result: (outcome) => results.inc({ outcome }),
    mismatch: () => mismatches.inc(),
    convergence: (ms) => convergence.observe(ms / 1000),
  };
}

/** Registers until when the relay's own certificates are good: unix times, absent while they have not been read. */
export function registerPkiMetrics(metrics: Registry, pki: Pick<RelayPki, "ca" | "certificate">): void {
  const gauge = (name: string, help: string, readMs: () => number): void => {
    new Gauge({
      name: `mesh_relay_${name}`,
      help,
      registers: [metrics],
      collect() {
        this.remove();
        try {
          this.set(readMs() / 1000);
        } catch (error) {
          if (MeshError.from(error).code !== "unavailable") throw error;
        }
      },
    });
  };
  gauge("ca_not_after_seconds", "End of life of the root that signs the relay's own certificates", () => {
    const [signing] = pki.ca.roots;
    return signing ? certificateFacts(signing).notAfterMs : 0;
  });
  gauge("server_certificate_not_after_seconds", "End of life of the server's own certificate", () => {
    return pki.certificate.relay.notAfterMs;
  });
}

/** Registers what this replica has of sessions and pushes, at the moment of each scrape. */
export function registerAgentCounts(metrics: Registry, agents: Pick<Agents, "counts">): void {
  const gauge = (name: string, help: string, read: (counts: ReturnType<Agents["counts"]>) => number): void => {
    new Gauge({
      name: `mesh_relay_${name}`,
      help,
      registers: [metrics],
      collect() {
        this.set(read(agents.counts()));
      },
    });
  };
  gauge("sessions", "Sessions that this replica holds", ({ sessions }) => sessions);
  gauge("agents_out_of_sync", "Connected agents that do not hold what they shall", ({ outOfSync }) => outOfSync);
  gauge("pushes_in_flight", "Pushes that wait for their result", ({ inFlight }) => inFlight);
  gauge("parked_resources", "Versions that an agent refused and that are still wanted", ({ parked }) => parked);
}
