import { missingReason } from "../tools/build.ts";
import type { ToolName } from "../tools/registry.ts";
import { skipBecause } from "../harness/needs.ts";
import { IMAGE_TOOLS } from "./images/foreign.ts";
import { PROGRAMS } from "./programs.ts";

/** All that clusters are made of, and what tests on them call. */
export const CLUSTER_TOOLS: readonly ToolName[] = [
  ...new Set<ToolName>([
    ...PROGRAMS,
    ...IMAGE_TOOLS,
    ...(["kubectl", "istioctl", "helm", "ctr", "runc", "nft", "ip", "unshare", "nsenter", "openssl"] as const),
  ]),
];

/** Why this machine cannot have the clusters, in one line; undefined when it can. */
export function missingForClusters(tools: readonly ToolName[] = CLUSTER_TOOLS): string | undefined {
  if (process.platform !== "linux") return `clusters: need Linux, this is ${process.platform}`;
  if (process.getuid?.() !== 0) return "clusters: need root, for namespaces and cgroups";
  const reason = missingReason(tools);
  return reason === undefined ? undefined : `clusters: ${reason}`;
}

/** For the `skip` option of a suite on clusters; with `CI=true` it throws instead. */
export function skipWithoutClusters(): string | false {
  const reason = missingForClusters();
  return reason === undefined ? false : skipBecause(reason);
}
