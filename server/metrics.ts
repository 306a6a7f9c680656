import type { Latest } from "../common/runtime/latest.ts";
import { Counter, Gauge, type Registry } from "../common/runtime/metrics.ts";
import type { VirtualMeshStatus } from "../proto/gen/admin/v1/admin.ts";
import type { MeshesStatus } from "./admin/services.ts";
import type { ClusterRegistry } from "./identity/registry.ts";
import type { SessionStore } from "./identity/session-store.ts";

/** What the metrics are read from, at the moment of each scrape. */
export interface ServerMetricSources {
  readonly registry: ClusterRegistry;
  readonly sessions: Pick<SessionStore, "isConnected">;
  readonly statuses: Latest<MeshesStatus>;
}

/** One time series: its labels and its value. */
type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** Registers the server's metrics (docs/metrics.md). */
export function registerServerMetrics(metrics: Registry, { registry, sessions, statuses }: ServerMetricSources): void {
  const meshes = (): readonly VirtualMeshStatus[] => statuses.value?.virtualMeshes ?? [];
  const gauge = (name: string, help: string, labelNames: readonly string[], read: () => Iterable<Sample>): void => {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [metrics],
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.set(labels, value);
      },
    });
  };
  gauge("mesh_relay_agents_connected", "1 for a registered cluster whose agent is connected, else 0", ["cluster"], () =>
    registry.list().map(({ name }) => [{ cluster: name }, sessions.isConnected(name) ? 1 : 0]),
  );
  new Counter({
    name: "mesh_relay_possible_clones_total",
    help: "Times that a second agent was seen with the identity of the cluster, or a certificate that was replaced",
    labelNames: ["cluster"],
    registers: [metrics],
    collect() {
      this.reset();
      for (const [cluster, count] of registry.clones.sightings) this.inc({ cluster }, count);
    },
  });
  gauge(
    "mesh_relay_virtual_mesh_condition",
    "1 for a condition of a VirtualMesh that is True, else 0",
    ["virtual_mesh", "condition"],
    () => meshes().flatMap(conditionSamples),
  );
  gauge(
    "mesh_relay_intermediate_not_after_seconds",
    "End of life of the intermediate that an istiod has in force, as unix time",
    ["cluster", "pod"],
    () => meshes().flatMap(lifeSamples),
  );
}

function conditionSamples({ name, status }: VirtualMeshStatus): Sample[] {
  const conditions = (status?.["conditions"] ?? []) as readonly { type: string; status: string }[];
  const mesh = `${name?.namespace ?? ""}/${name?.name ?? ""}`;
  return conditions.map(({ type, status: state }) => [
    { virtual_mesh: mesh, condition: type },
    state === "True" ? 1 : 0,
  ]);
}

function lifeSamples({ clusters }: VirtualMeshStatus): Sample[] {
  return clusters.flatMap(({ cluster, certificate }) =>
    (certificate?.replicas ?? []).flatMap(({ podName, notAfter }): Sample[] =>
      notAfter ? [[{ cluster, pod: podName }, notAfter.getTime() / 1000]] : [],
    ),
  );
}
