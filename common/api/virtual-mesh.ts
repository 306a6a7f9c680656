import type { CommonCertOptions, VaultCertificateAuthority } from "./certificates.ts";
import type { Condition, ObjectMeta, ObjectRef } from "./meta.ts";

/** A group of meshes that share one root of trust. Fields are described in deploy/crds, which a test holds equal. */
export interface VirtualMesh {
  readonly apiVersion: "networking.mesh.gloo.solo.io/v1";
  readonly kind: "VirtualMesh";
  readonly metadata: ObjectMeta;
  readonly spec: VirtualMeshSpec;
  readonly status?: VirtualMeshStatus;
}

export interface VirtualMeshSpec {
  readonly meshes?: readonly ObjectRef[];
  /** Absent: certificates are not touched. */
  readonly mtlsConfig?: MtlsConfig;
  readonly federation?: Federation;
  readonly globalAccessPolicy?: "MESH_DEFAULT" | "ENABLED" | "DISABLED";
}

/** At most one of `shared` and `limited`. */
export interface MtlsConfig {
  readonly shared?: SharedTrust;
  readonly limited?: Empty;
  readonly autoRestartPods?: boolean;
  readonly rotationVerificationMethod?: { readonly none?: Empty; readonly manual?: Empty };
  readonly rotationStrategy?: "MULTI_ROOT" | "NONE";
}

/** At most one of the two authorities. */
export interface SharedTrust {
  readonly rootCertificateAuthority?: RootCertificateAuthority;
  readonly intermediateCertificateAuthority?: IntermediateCertificateAuthority;
  readonly intermediateCertOptions?: CommonCertOptions;
}

/** At most one of the two sources. */
export interface RootCertificateAuthority {
  readonly generated?: CommonCertOptions;
  readonly secret?: ObjectRef;
}

export interface IntermediateCertificateAuthority {
  readonly vault?: VaultCertificateAuthority;
}

export interface Federation {
  readonly selectors?: readonly FederationSelector[];
  readonly permissive?: Empty;
  readonly flatNetwork?: boolean;
  readonly hostnameSuffix?: string;
  readonly tcpKeepalive?: { readonly probes?: number; readonly time?: string; readonly interval?: string };
  readonly eastWestIngressGatewaySelectors?: readonly GatewaySelector[];
  readonly ingressGatewaySelectors?: readonly OverridableGatewaySelector[];
  readonly tlsEnforcementSettings?: { readonly enforcementMode?: "UNSET" | "DISABLE" | "PERMISSIVE" | "STRICT" };
}

export interface FederationSelector {
  readonly destinationSelectors?: readonly DestinationSelector[];
  readonly meshes?: readonly ObjectRef[];
}

export interface DestinationSelector {
  readonly kubeServiceMatcher?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly namespaces?: readonly string[];
    readonly clusters?: readonly string[];
  };
  readonly kubeServiceRefs?: {
    readonly services?: readonly {
      readonly name?: string;
      readonly namespace?: string;
      readonly clusterName?: string;
    }[];
  };
}

export interface GatewaySelector {
  readonly destinationSelectors?: readonly DestinationSelector[];
  readonly portName?: string;
}

/** At most one of `portName` and `overrideHostInfo`. */
export interface OverridableGatewaySelector extends GatewaySelector {
  readonly overrideHostInfo?: { readonly addr?: string; readonly port?: number };
}

/** PENDING never processed, ACCEPTED in force, INVALID refused, FAILED valid but a cluster could not follow. */
export type ApprovalState = "PENDING" | "ACCEPTED" | "INVALID" | "FAILED";

export interface VirtualMeshStatus {
  readonly observedGeneration?: number;
  readonly state?: ApprovalState;
  readonly errors?: readonly string[];
  /** Keyed by `statusKey`. */
  readonly meshes?: Readonly<Record<string, ApprovalStatus>>;
  readonly destinations?: Readonly<Record<string, ApprovalStatus>>;
  readonly conditions?: readonly Condition[];
  readonly deployedSharedTrust?: DeployedSharedTrust;
  readonly rotation?: { readonly history?: readonly RotationStep[] };
}

export interface ApprovalStatus {
  readonly acceptanceOrder?: number;
  readonly state?: ApprovalState;
  readonly errors?: readonly string[];
  readonly warnings?: readonly string[];
}

/** The trust that is rolled out, with the pin of its root. */
export interface DeployedSharedTrust extends SharedTrust {
  /** SHA-256 of the root's DER form, lower-case hex. */
  readonly rootSha256?: string;
  /** Cluster in which that root was proved first. */
  readonly rootProvedBy?: string;
}

export interface RotationStep {
  readonly timestamp?: string;
  readonly state?: RotationState;
  readonly message?: string;
  readonly errors?: readonly string[];
}

export type RotationState =
  | "NOT_ROTATING"
  | "PREVIOUS_CA"
  | "ADDING_NEW_ROOT"
  | "PROPAGATING_NEW_INTERMEDIATE"
  | "DELETING_OLD_ROOT"
  | "VERIFYING"
  | "VERIFIED"
  | "ROLLING_BACK"
  | "FINISHED"
  | "FAILED";

/** A message without fields: its presence is what counts. */
export type Empty = Readonly<Record<string, never>>;

/** The warning on a mesh that is kept, though the newest spec does not list it, begins so. */
export const NOT_LISTED = "not listed any more";
