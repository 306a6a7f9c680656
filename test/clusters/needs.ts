import { existsSync } from "node:fs";
import { missingReason } from "../tools/build.ts";
import type { ToolName } from "../tools/registry.ts";
import { skipBecause } from "../harness/needs.ts";
import { IMAGE_TOOLS } from "./images/foreign.ts";
import { PROGRAMS } from "./programs.ts";

/** Where containerd's configuration looks for them. */
const CNI_PLUGINS = ["/usr/lib/cni/ptp", "/usr/lib/cni/host-local", "/usr/lib/cni/loopback"];

/** All that clusters are made of, and what tests on them call. */
export const CLUSTER_TOOLS: readonly ToolName[] = [
  ...new Set<ToolName>([
    ...PROGRAMS,
    ...IMAGE_TOOLS,
    ...(["kubectl", "istioctl", "helm", "ctr", "runc", "nft", "ip", "unshare", "nsenter", "openssl"] as const),
  ]),
];

/** What of a machine decides. */
export interface Machine {
  readonly platform: string;
  readonly uid: number | undefined;
}

/** Why this machine cannot have the clusters, in one line; undefined when it can. */
export function missingForClusters({ platform, uid }: Machine = thisMachine()): string | undefined {
  if (platform !== "linux") return `clusters: need Linux, this is ${platform}`;
  if (uid !== 0) return "clusters: need root, for namespaces and cgroups";
  const plugin = CNI_PLUGINS.find((file) => !existsSync(file));
  if (plugin !== undefined) return `clusters: no ${plugin}; Debian has it in containernetworking-plugins`;
  const reason = missingReason(CLUSTER_TOOLS);
  return reason === undefined ? undefined : `clusters: ${reason}`;
}

const thisMachine = (): Machine => ({ platform: process.platform, uid: process.getuid?.() });

/** For the `skip` option of a suite on clusters; with `CI=true` it throws instead. */
export function skipWithoutClusters(machine: Machine = thisMachine()): string | false {
  const reason = missingForClusters(machine);
  return reason === undefined ? false : skipBecause(reason);
}
