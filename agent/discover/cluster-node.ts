import type { KubeObject } from "../../common/kube/resource-type.ts";

/** A node, as far as it matters where the cluster lies and how it is reached. */
export interface ClusterNode {
  readonly name: string;
  /** It is ready and takes work. */
  readonly usable: boolean;
  readonly externalIp: string | undefined;
  readonly internalIp: string | undefined;
  readonly region: string | undefined;
}

interface Node extends KubeObject {
  readonly spec?: { readonly unschedulable?: boolean };
  readonly status?: {
    readonly addresses?: readonly { readonly type?: string; readonly address?: string }[];
    readonly conditions?: readonly { readonly type?: string; readonly status?: string }[];
  };
}

const REGION_LABELS = ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];

export function readNode(object: KubeObject): ClusterNode {
  const { metadata, spec, status } = object as Node;
  const address = (type: string): string | undefined => status?.addresses?.find((each) => each.type === type)?.address;
  const isReady = status?.conditions?.some((each) => each.type === "Ready" && each.status === "True") ?? false;
  return {
    name: metadata.name,
    usable: isReady && spec?.unschedulable !== true,
    externalIp: address("ExternalIP"),
    internalIp: address("InternalIP"),
    region: REGION_LABELS.map((label) => metadata.labels?.[label]).find(Boolean),
  };
}

/** Address at which a port of the nodes is reached: an external one if any node has it, and the same one each time. */
export function nodeAddress(nodes: readonly ClusterNode[]): string | undefined {
  const usable = nodes.filter((node) => node.usable).sort(byName);
  return usable.find((node) => node.externalIp)?.externalIp ?? usable.find((node) => node.internalIp)?.internalIp;
}

/** Region of most nodes; "" where none tells. */
export function regionOf(nodes: readonly ClusterNode[]): string {
  const counts = new Map<string, number>();
  for (const { region } of nodes) if (region) counts.set(region, (counts.get(region) ?? 0) + 1);
  const [most] = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  return most?.[0] ?? "";
}

const byName = (a: ClusterNode, b: ClusterNode): number => (a.name < b.name ? -1 : 1);
