import { delimiter, join, resolve } from "node:path";
import { MeshError } from "../../common/runtime/errors.ts";
import { attach } from "../../test/clusters/fleet.ts";
import { ISTIO_FLAGS } from "../../test/clusters/istio.ts";
import { ensureTools } from "../../test/tools/build.ts";
import { findInstalled } from "../../test/tools/registry.ts";
import type { GuideConfig } from "./config.ts";

/** The clusters that are walked on, and what they need beside the guide's own words. */
export interface Ground {
  /** Words for the reader. */
  readonly title: string;
  readonly contexts: readonly [first: string, second: string];
  /** undefined: kubectl's own. */
  readonly kubeconfig: string | undefined;
  readonly vaultManifest: string | undefined;
  readonly loadBalancer: string | undefined;
  /** Flags for `istioctl install`. */
  readonly istioFlags: readonly string[];
  /** Paths of programs that are put before those of the PATH. */
  readonly programs: Readonly<Record<string, string>>;
}

const REPOSITORY = join(import.meta.dirname, "../..");

/** Finds the clusters. Throws `failed_precondition` with what is missing. */
export async function findGround(config: GuideConfig): Promise<Ground> {
  const { context1, context2, loadBalancer, istioSet } = config;
  // The commands run in a folder of their own.
  const vaultManifest = config.vaultManifest && resolve(config.vaultManifest);
  const kubeconfig = config.kubeconfig
    ?.split(delimiter)
    .map((file) => resolve(file))
    .join(delimiter);
  const istioFlags = istioSet.flatMap((setting) => ["--set", setting]);
  if (context1 === undefined || context2 === undefined) return fleetGround({ ...config, vaultManifest }, istioFlags);
  const missing = ["kubectl", "helm", "istioctl"].filter((name) => !findInstalled([name]));
  if (missing.length > 0) throw new MeshError("failed_precondition", `not on the PATH: ${missing.join(", ")}`);
  const title = `contexts ${context1} and ${context2}`;
  return { title, contexts: [context1, context2], kubeconfig, vaultManifest, loadBalancer, istioFlags, programs: {} };
}

/** Clusters of npm run clusters:up have no Internet, no load balancer, and an Envoy without Istio's own extensions. */
async function fleetGround(config: GuideConfig, istioFlags: readonly string[]): Promise<Ground> {
  const { kubeconfig, clusters } = await attach(config.fleet);
  const [first, second] = clusters;
  if (!first || !second) throw new MeshError("failed_precondition", `fleet ${config.fleet} has less than two clusters`);
  return {
    title: `clusters ${first.name} and ${second.name} of fleet ${config.fleet}`,
    contexts: [first.name, second.name],
    kubeconfig,
    vaultManifest: config.vaultManifest ?? join(REPOSITORY, "test/clusters/manifests/vault.yaml"),
    loadBalancer: config.loadBalancer ?? first.nodeAddress,
    istioFlags: [...ISTIO_FLAGS, ...istioFlags],
    programs: await ensureTools(["kubectl", "helm", "istioctl"]),
  };
}
