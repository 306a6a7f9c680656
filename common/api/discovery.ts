import type { IssuedCertificateResourceStatus } from "./certificates.ts";
import type { ObjectMeta, ObjectRef } from "./meta.ts";
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
    readonly spec?: VirtualMeshSpec;
  };
  readonly appliedVirtualDestinations?: readonly unknown[];
  readonly appliedEastWestIngressGateways?: readonly unknown[];
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
}
