import type { WatchStatusResponse } from "../proto/gen/admin/v1/admin.ts";
import {
  CertificateState,
  certificateStateToJSON,
  type ReplicaStatus,
} from "../proto/gen/certificates/v1/certificates.ts";
import type { Fault } from "./log-lines.ts";

/** What the server says of one cluster's certificate. Times are ISO 8601; "" where nothing is known. */
export interface ClusterView {
  readonly cluster: string;
  readonly mesh: string;
  /** PENDING, REQUESTED, ISSUED, FINISHED or FAILED. */
  readonly state: string;
  readonly connected: boolean;
  /** Whether the agent has stored the intent in force. */
  readonly applied: boolean;
  readonly issuer: string;
  readonly serial: string;
  /** Lower-case hex. */
  readonly rootSha256: string;
  readonly notAfter: string;
  readonly renewAt: string;
  readonly directory: string;
  readonly evidence: string;
  readonly warnings: readonly string[];
  readonly fault?: Fault | undefined;
}

/** What the server says of the one VirtualMesh. */
export interface MeshView {
  /** ACCEPTED, INVALID, FAILED or PENDING. */
  readonly state: string;
  readonly errors: readonly string[];
  readonly generation: number;
  readonly clusters: readonly ClusterView[];
}

/** The part of VirtualMesh.status that is shown. */
interface StatusFields {
  readonly state?: string;
  readonly errors?: readonly string[];
  readonly observedGeneration?: number;
}

/**
 * The view of the one VirtualMesh of the demo; undefined while the server knows none. The server lists a file that is no
 * YAML before the VirtualMesh that stays in force: the view has the state of the one and the clusters of the other.
 */
export function viewOf({ virtualMeshes }: WatchStatusResponse): MeshView | undefined {
  const [virtualMesh] = virtualMeshes;
  if (!virtualMesh) return undefined;
  const { state = "PENDING", errors = [], observedGeneration = 0 } = (virtualMesh.status ?? {}) as StatusFields;
  const inForce = virtualMeshes.find((one) => one.clusters.length > 0) ?? virtualMesh;
  const clusters = inForce.clusters.map(({ cluster, mesh, connected, applied, certificate }) => {
    const replicas = certificate?.replicas ?? [];
    const replica = replicas.find((one) => one.connected) ?? replicas[0];
    return { cluster, mesh: mesh?.name ?? "", connected, applied, ...replicaView(replica) };
  });
  return { state, errors, generation: observedGeneration, clusters };
}

function replicaView(replica: ReplicaStatus | undefined) {
  const state = certificateStateToJSON(replica?.state ?? CertificateState.CERTIFICATE_STATE_PENDING);
  return {
    state: state.replace("CERTIFICATE_STATE_", ""),
    issuer: replica?.issuer ?? "",
    serial: replica?.serial ?? "",
    rootSha256: replica?.rootSha256.toString("hex") ?? "",
    notAfter: replica?.notAfter?.toISOString() ?? "",
    renewAt: replica?.renewAt?.toISOString() ?? "",
    directory: replica?.directory ?? "",
    evidence: replica?.evidence ?? "",
    warnings: replica?.warnings ?? [],
    fault: replica?.error && { ...replica.error, hint: replica.error.hint || undefined },
  };
}

/** True for a cluster whose certificate is in its place. */
export const isIssued = ({ state }: ClusterView): boolean => state === "ISSUED" || state === "FINISHED";

/** True when nothing is under way. */
export const isSettled = ({ clusters }: MeshView): boolean =>
  clusters.every((cluster) => isIssued(cluster) || cluster.state === "FAILED");
