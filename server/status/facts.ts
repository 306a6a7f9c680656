import type { Mesh } from "../../common/api/discovery.ts";
import { nameOf } from "../../common/api/meta.ts";
import { keyOf } from "../../common/session/resource-set.ts";
import type { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { clusterOf } from "../intent/mesh-checks.ts";
import { certificateName } from "../translate/translate.ts";
import type { CertificateReport } from "./report.ts";
import { fromStored } from "./stored-certificate.ts";

/** What is known of one mesh's certificate in its cluster, whoever knows it. Versions are lower-case hex. */
export interface MeshFacts {
  /** The agent of the cluster holds its session open. */
  readonly connected: boolean;
  /** The identity of the cluster was taken away. */
  readonly revoked: boolean;
  /** Version that the agent has acknowledged; undefined while that is not known. */
  readonly acknowledged: string | undefined;
  /** Why the agent refused the version in force. */
  readonly rejected: string | undefined;
  /** What the agent reported last; undefined when it never did. */
  readonly certificate: IssuedCertificateStatus | undefined;
}

/** Where facts come from; `wanted` is the version in force, undefined when none is. */
export type FactSource = (mesh: Mesh, wanted: string | undefined) => MeshFacts;

/** What the parts of a server know by themselves: all there is to know when the agents have no other server. */
export interface LocalKnowledge {
  isConnected(cluster: string): boolean;
  isRevoked(cluster: string): boolean;
  /** Of the resource with this key. */
  acknowledged(cluster: string, key: string): string | undefined;
  rejection(cluster: string, key: string): string | undefined;
  reports(cluster: string): readonly IssuedCertificateStatus[];
}

/** Facts of a server that serves every agent itself. */
export function localFacts(known: LocalKnowledge): FactSource {
  return (mesh) => {
    const cluster = clusterOf(mesh);
    const key = keyOf(certificateName(mesh));
    return {
      connected: known.isConnected(cluster),
      revoked: known.isRevoked(cluster),
      acknowledged: known.acknowledged(cluster, key),
      rejected: known.rejection(cluster, key),
      certificate: known.reports(cluster).find(({ name }) => name && keyOf(name) === key),
    };
  };
}

/** What all replicas know of the clusters. */
export type ClusterKnowledge = Pick<LocalKnowledge, "isConnected" | "isRevoked">;

/** Facts as the Meshes tell them, where whichever replica held the session wrote them. */
export function meshFacts(known: ClusterKnowledge): FactSource {
  const decoded = new WeakMap<Mesh, IssuedCertificateStatus>();
  return (mesh, wanted) => {
    const cluster = clusterOf(mesh);
    const stored = mesh.status?.issuedCertificate ?? {};
    const certificate = decoded.get(mesh) ?? fromStored(certificateName(mesh), stored);
    if (certificate) decoded.set(mesh, certificate);
    return {
      connected: known.isConnected(cluster),
      revoked: known.isRevoked(cluster),
      acknowledged: stored.acknowledgedVersion,
      // What was said of an older version is no news of the one in force.
      rejected: stored.rejectedVersion === wanted ? stored.rejected : undefined,
      certificate,
    };
  };
}

/** The report that a status is folded of. */
export function reportOf(mesh: Mesh, wanted: string | undefined, facts: MeshFacts): CertificateReport {
  const { connected, revoked, acknowledged, rejected, certificate } = facts;
  const observed = certificate?.observedVersion.toString("hex");
  return {
    cluster: clusterOf(mesh),
    mesh: nameOf(mesh),
    connected,
    revoked,
    applied: !revoked && isApplied(wanted, [acknowledged, observed]),
    ...(rejected === undefined ? {} : { rejected }),
    ...(certificate ? { certificate } : {}),
  };
}

/**
 * Whether a cluster holds what is wanted, by the versions that the session acknowledged and that the last report speaks of.
 * Either may be unknown, not both; one that is known must be the wanted one: a report of an older intent says nothing yet.
 */
export function isApplied(wanted: string | undefined, known: readonly (string | undefined)[]): boolean {
  if (wanted === undefined) return true;
  const versions = known.filter((version) => version !== undefined);
  return versions.length > 0 && versions.every((version) => version === wanted);
}
