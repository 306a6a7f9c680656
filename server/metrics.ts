import { Gauge, type Registry } from "../common/runtime/metrics.ts";
import type { ClusterRegistry } from "./identity/registry.ts";
import type { Hub } from "./relay/hub.ts";
import type { StatusRoom } from "./status/status-room.ts";

/** What the metrics are read from, at the moment of each scrape. */
export interface ServerMetricSources {
  readonly registry: ClusterRegistry;
  readonly hub: Hub;
  readonly status: StatusRoom;
}

/** Registers the server's metrics (docs/metrics.md). */
export function registerServerMetrics(metrics: Registry, { registry, hub, status }: ServerMetricSources): void {
  new Gauge({
    name: "mesh_relay_agents_connected",
    help: "1 for a registered cluster whose agent is connected, else 0",
    labelNames: ["cluster"],
    registers: [metrics],
    collect() {
      this.reset();
      for (const { name } of registry.list()) this.set({ cluster: name }, hub.isConnected(name) ? 1 : 0);
    },
  });
  new Gauge({
    name: "mesh_relay_agents_out_of_sync",
    help: "Connected agents that do not hold what they shall",
    registers: [metrics],
    collect() {
      this.set(hub.sessions().filter(({ outOfSync }) => outOfSync.length > 0).length);
    },
  });
  new Gauge({
    name: "mesh_relay_virtual_mesh_condition",
    help: "1 for a condition of a VirtualMesh that is True, else 0",
    labelNames: ["virtual_mesh", "condition"],
    registers: [metrics],
    collect() {
      this.reset();
      for (const { name, status: value } of status.statuses.value?.virtualMeshes ?? []) {
        const conditions = (value?.["conditions"] ?? []) as readonly { type: string; status: string }[];
        for (const { type, status: state } of conditions) {
          const virtualMesh = `${name?.namespace ?? ""}/${name?.name ?? ""}`;
          this.set({ virtual_mesh: virtualMesh, condition: type }, state === "True" ? 1 : 0);
        }
      }
    },
  });
  new Gauge({
    name: "mesh_relay_intermediate_not_after_seconds",
    help: "End of life of the intermediate that an istiod has in force, as unix time",
    labelNames: ["cluster", "pod"],
    registers: [metrics],
    collect() {
      this.reset();
      for (const { clusters } of status.statuses.value?.virtualMeshes ?? []) {
        for (const { cluster, certificate } of clusters) {
          for (const { podName, notAfter } of certificate?.replicas ?? []) {
            if (notAfter) this.set({ cluster, pod: podName }, notAfter.getTime() / 1000);
          }
        }
      }
    },
  });
}
