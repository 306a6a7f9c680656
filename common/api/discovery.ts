import type {
  IssuedCertificateReplica,
  IssuedCertificateResourceStatus,
  IssuedCertificateState,
} from "./certificates.ts";
import type { Condition, ObjectMeta, ObjectRef } from "./meta.ts";
import type { PodBounceState } from "./pod-bounce.ts";
import type { VirtualMeshSpec } from "./virtual-mesh.ts";

/** One service mesh in one cluster. Discovery writes it; in standalone mode it is a file. */
export interface Mesh {
  readonly apiVersion: "discovery.mesh.gloo.solo.io/v1";
  readonly kind: "Mesh";
  readonly metadata: ObjectMeta;
  readonly spec: MeshSpec;
  readonly status?: MeshStatus;
}

export interface MeshSpec {
  readonly istio?: IstioMesh;
  readonly agentInfo?: { readonly agentNamespace?: string };
  readonly issuedCertificateStatus?: IssuedCertificateResourceStatus;
}

export interface IstioMesh {
  readonly installation?: MeshInstallation;
  readonly trustDomain?: string;
  readonly istiodServiceAccount?: string;
  readonly ingressGateways?: readonly IngressGateway[];
  readonly smartDnsProxyingEnabled?: boolean;
  readonly rootNamespace?: string;
}

/** `deployment` is an addition to the reference's API. */
export interface MeshInstallation {
  readonly namespace?: string;
  readonly cluster?: string;
  readonly podLabels?: Readonly<Record<string, string>>;
  readonly version?: string;
  readonly region?: string;
  readonly deployment?: string;
}

export interface IngressGateway {
  readonly name?: string;
  readonly namespace?: string;
  readonly workloadLabels?: Readonly<Record<string, string>>;
  readonly dnsName?: string;
  readonly ip?: string;
  readonly externalAddress?: string;
  readonly externalTlsPort?: number;
  readonly tlsContainerPort?: number;
}

export interface MeshStatus {
  readonly observedGeneration?: number;
  readonly appliedVirtualMesh?: {
    readonly ref?: ObjectRef;
    readonly observedGeneration?: number;
    readonly acceptanceOrder?: number;
    readonly spec?: VirtualMeshSpec;
  };
  readonly appliedVirtualDestinations?: readonly unknown[];
  readonly appliedEastWestIngressGateways?: readonly unknown[];
  readonly removal?: { readonly virtualMesh?: ObjectRef; readonly since?: string };
  readonly issuedCertificate?: MeshCertificateStatus;
  readonly conditions?: readonly Condition[];
}

/** What the cluster's agent said last of the mesh's certificate. Versions are lower-case hex. */
export interface MeshCertificateStatus {
  /** Of the session that told it. */
  readonly epoch?: number;
  readonly acknowledgedVersion?: string;
  readonly rejected?: string;
  readonly rejectedVersion?: string;
  /** `removal.since` of the removal that the agent has acknowledged. */
  readonly acknowledgedRemoval?: string;
  readonly observedVersion?: string;
  readonly state?: IssuedCertificateState;
  readonly error?: { readonly code?: string; readonly message?: string; readonly hint?: string };
  /** When the first of the intermediates in use ends, RFC 3339. */
  readonly notAfter?: string;
  readonly detached?: boolean;
  readonly replicas?: readonly IssuedCertificateReplica[];
  readonly podBounce?: {
    readonly state?: PodBounceState;
    readonly message?: string;
    readonly restarted?: number;
    readonly remaining?: number;
    readonly unmanaged?: readonly string[];
  };
}

/** Registration of a cluster; its name is the one that the cluster's agent presents. */
export interface KubernetesCluster {
  readonly apiVersion: "multicluster.solo.io/v1alpha1";
  readonly kind: "KubernetesCluster";
  readonly metadata: ObjectMeta;
  readonly spec?: KubernetesClusterSpec;
  readonly status?: KubernetesClusterStatus;
}

export interface KubernetesClusterSpec {
  readonly secretName?: string;
  readonly clusterDomain?: string;
  readonly providerInfo?: {
    readonly eks?: {
      readonly arn?: string;
      readonly accountId?: string;
      readonly region?: string;
      readonly name?: string;
    };
  };
}

export interface KubernetesClusterStatus {
  readonly status?: readonly {
    readonly state?: "PENDING" | "PROCESSING" | "INVALID" | "FAILED" | "ACCEPTED";
    readonly message?: string;
    readonly observedGeneration?: number;
    readonly processingTime?: string;
    readonly owner?: string;
  }[];
  readonly namespace?: string;
  readonly policyRules?: readonly {
    readonly verbs?: readonly string[];
    readonly apiGroups?: readonly string[];
    readonly resources?: readonly string[];
    readonly resourceNames?: readonly string[];
    readonly nonResourceUrls?: readonly string[];
  }[];
  readonly identity?: ClusterIdentityStatus;
  readonly session?: ClusterSessionStatus;
}

/** A client certificate that was issued to the cluster's agent. Times are RFC 3339. */
export interface ClusterCertificate {
  readonly serial?: string;
  readonly fingerprint?: string;
  readonly keyHash?: string;
  readonly notAfter?: string;
  readonly trust?: string;
}

/** The identity of the cluster's agent. Holds no secret. */
export interface ClusterIdentityStatus {
  readonly state?: "REGISTERED" | "ENROLLED" | "REVOKED";
  readonly current?: ClusterCertificate;
  readonly next?: ClusterCertificate;
  readonly previous?: ClusterCertificate & { readonly refusedFrom?: string };
  readonly token?: {
    readonly id?: string;
    readonly secretHash?: string;
    readonly expiresAt?: string;
    readonly failures?: number;
    readonly usedAt?: string;
    readonly usedByKeyHash?: string;
  };
}

/** The session of the cluster's agent. */
export interface ClusterSessionStatus {
  readonly epoch?: number;
  readonly sessionId?: string;
  readonly replica?: string;
  readonly connected?: boolean;
  readonly peer?: string;
  readonly agentVersion?: string;
  readonly connectedAt?: string;
  readonly endedAt?: string;
  readonly endReason?: string;
  readonly clockOffsetMs?: number;
  readonly turns?: readonly string[];
}
