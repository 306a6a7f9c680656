import { installBookinfo } from "./bookinfo.ts";
import type { Cluster } from "./cluster.ts";
import { baseUp, type Fleet, type FleetOptions } from "./fleet.ts";
import { hasIstio, installPlainIstio } from "./istio.ts";
import type { OnStep } from "./make.ts";
import { installVault } from "./vault.ts";

/**
 * How far clusters can be brought up, each stage on top of the one before it: Kubernetes alone; Vault, not set up;
 * Istio with roots of its own; workloads with sidecars.
 */
export const STAGES = ["base", "vault", "istio", "bookinfo"] as const;
export type Stage = (typeof STAGES)[number];

/** What a stage adds to a cluster; again is harmless. */
const ADDED: Readonly<Record<Exclude<Stage, "base">, (cluster: Cluster) => Promise<void>>> = {
  vault: installVault,
  istio: async (cluster) => {
    // Not again: an istiod that has been given the istiod-agent meanwhile keeps it.
    if (!(await hasIstio(cluster))) await installPlainIstio(cluster);
  },
  bookinfo: installBookinfo,
};

/** Brings a fleet up to a stage. What is there already is left as it is. */
export async function fleetUp(options: FleetOptions & { readonly until: Stage }): Promise<Fleet> {
  const fleet = await baseUp(options);
  await Promise.all(fleet.clusters.map((cluster) => clusterUp(cluster, options.until, options.onStep)));
  return fleet;
}

/** Adds the stages up to that one to a cluster of stage `base`. */
export async function clusterUp(cluster: Cluster, until: Stage, onStep: OnStep = () => undefined): Promise<void> {
  const wanted = STAGES.slice(1, STAGES.indexOf(until) + 1) as Exclude<Stage, "base">[];
  const add = async (stage: Exclude<Stage, "base">): Promise<void> => {
    await ADDED[stage](cluster);
    onStep(cluster.name, stage);
  };
  // Vault and Istio know nothing of each other.
  await Promise.all(wanted.filter((stage) => stage !== "bookinfo").map(add));
  if (wanted.includes("bookinfo")) await add("bookinfo");
}
