import { isDeepStrictEqual } from "node:util";
import type { Mesh, MeshSpec } from "../../common/api/discovery.ts";
import { stampConditions } from "../status/conditions.ts";
import type { Found } from "./discovered-mesh.ts";

/** Label of a discovered Mesh: its cluster. */
export const CLUSTER_LABEL = "cluster.discovery.mesh.gloo.solo.io";
/** Label of a discovered Mesh: who wrote it, by the server's namespace. A Mesh without it was made by hand. */
export const OWNER_LABEL = "owner.discovery.mesh.gloo.solo.io";

/** What to do to the Meshes of a cluster so that they say what its agent found. */
export interface DiscoveryPlan {
  /** Meshes to make, with their specs. */
  readonly create: readonly { readonly name: string; readonly spec: MeshSpec }[];
  readonly update: readonly { readonly mesh: Mesh; readonly spec: MeshSpec }[];
  /** Meshes whose condition `Discovered` is another one by now. */
  readonly mark: readonly { readonly mesh: Mesh; readonly isFound: boolean }[];
  /** Meshes that are not found any more and that nobody uses. */
  readonly remove: readonly Mesh[];
  /** What is left as it is, and why, one sentence each. */
  readonly refused: readonly string[];
}

export interface DiscoveryFacts {
  /** Of the certificate of whoever reports. */
  readonly cluster: string;
  /** The server's. */
  readonly namespace: string;
  readonly found: Found;
  /** All Meshes of the namespace, by name. */
  readonly meshes: ReadonlyMap<string, Mesh>;
}

/**
 * Plans for one report, which is all that the cluster has. Only Meshes that this server made for this very cluster are
 * ever touched: a name that comes to another cluster's Mesh, or to one made by hand, is refused.
 */
export function planDiscovery(facts: DiscoveryFacts): DiscoveryPlan {
  const { found, meshes } = facts;
  const foreign = [...found.specs.keys()].filter((name) => {
    const known = meshes.get(name);
    return known && !isOwn(known, facts);
  });
  const wanted = new Map([...found.specs].filter(([name]) => !foreign.includes(name)));
  const own = [...meshes.values()].filter((mesh) => isOwn(mesh, facts));
  const gone = own.filter(({ metadata }) => !wanted.has(metadata.name));
  return {
    create: [...wanted].flatMap(([name, spec]) => (meshes.has(name) ? [] : [{ name, spec }])),
    update: own.flatMap((mesh) => {
      const spec = wanted.get(mesh.metadata.name);
      return spec && !isDeepStrictEqual(spec, discoveredPart(mesh)) ? [{ mesh, spec }] : [];
    }),
    mark: own
      .filter((mesh) => wanted.has(mesh.metadata.name) || isUsed(mesh))
      .map((mesh) => ({ mesh, isFound: wanted.has(mesh.metadata.name) }))
      .filter(({ mesh, isFound }) => isMarked(mesh) !== isFound),
    remove: gone.filter((mesh) => !isUsed(mesh)),
    refused: foreign.flatMap((name) => {
      const known = meshes.get(name);
      return known ? [`Mesh ${name} is ${ownerOf(known)}, and is left as it is`] : [];
    }),
  };
}

/** The condition `Discovered` of a Mesh. */
export function discoveredConditions({ status }: Mesh, isFound: boolean, cluster: string, nowMs: number) {
  const fact = isFound
    ? ({ status: "True", reason: "Reported", message: `the agent of ${cluster} reports it` } as const)
    : ({
        status: "False",
        reason: "NotReported",
        message: `the agent of ${cluster} does not report it any more; it stays while something uses it`,
      } as const);
  return stampConditions([{ type: "Discovered", ...fact }], status?.conditions, { now: () => nowMs });
}

/** The labels of a Mesh that was found. */
export const discoveryLabels = (cluster: string, namespace: string): Record<string, string> => ({
  [CLUSTER_LABEL]: cluster,
  [OWNER_LABEL]: namespace,
});

function isOwn({ metadata, spec }: Mesh, { cluster, namespace }: DiscoveryFacts): boolean {
  const { labels = {} } = metadata;
  const told = spec.istio?.installation?.cluster;
  // Between the making of a Mesh and its first spec there is none.
  return labels[OWNER_LABEL] === namespace && labels[CLUSTER_LABEL] === cluster && (told ?? cluster) === cluster;
}

function ownerOf({ metadata, spec }: Mesh): string {
  const cluster = metadata.labels?.[CLUSTER_LABEL] ?? spec.istio?.installation?.cluster;
  return metadata.labels?.[OWNER_LABEL] === undefined ? "made by hand" : `of cluster ${cluster ?? "unknown"}`;
}

/** As far as discovery writes it. */
function discoveredPart({ spec: { istio, agentInfo } }: Mesh): MeshSpec {
  return { ...(istio && { istio }), ...(agentInfo && { agentInfo }) };
}

/** A VirtualMesh applies to it, a removal waits for it, or a certificate of it is reported. */
function isUsed({ status = {} }: Mesh): boolean {
  const { appliedVirtualMesh, removal, issuedCertificate } = status;
  return appliedVirtualMesh !== undefined || removal !== undefined || issuedCertificate?.state !== undefined;
}

/** undefined for one that was never marked. */
function isMarked({ status }: Mesh): boolean | undefined {
  const condition = status?.conditions?.find(({ type }) => type === "Discovered");
  return condition && condition.status === "True";
}
