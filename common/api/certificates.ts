import type { Condition, ObjectMeta, ObjectRef } from "./meta.ts";
import type { IntermediateCertificateAuthority, RotationState } from "./virtual-mesh.ts";

export interface CommonCertOptions {
  readonly ttlDays?: number;
  /** Bits of an RSA key, in spite of the name, or 256 for EC P-256. */
  readonly rsaKeySizeBytes?: number;
  readonly orgName?: string;
  /** Share of the life that is left when renewal is due at the latest, in (0, 1). */
  readonly secretRotationGracePeriodRatio?: number;
}

/** At most one of `caBundle` and `caLocalPath`, and of `tokenSecretRef` and `kubernetesAuth`. */
export interface VaultCertificateAuthority {
  /** Signs an intermediate; relative to /v1/. */
  readonly caPath?: string;
  /** Makes key and request; relative to /v1/. Absent: the istiod-agent makes the key. */
  readonly csrPath?: string;
  readonly server?: string;
  /** Base64 of PEM certificates. */
  readonly caBundle?: string;
  readonly caLocalPath?: string;
  readonly namespace?: string;
  readonly tokenSecretRef?: ObjectRef;
  readonly kubernetesAuth?: VaultKubernetesAuth;
}

/** At most one of `serviceAccountRef` and `mountedSaPath`. */
export interface VaultKubernetesAuth {
  readonly mountPath?: string;
  readonly role?: string;
  readonly secretTokenKey?: string;
  readonly serviceAccountRef?: ObjectRef;
  readonly mountedSaPath?: string;
}

/** The order for one mesh's intermediate certificate authority. The server makes it, the agent stores it. */
export interface IssuedCertificate {
  readonly apiVersion: "certificates.mesh.gloo.solo.io/v1";
  readonly kind: "IssuedCertificate";
  readonly metadata: ObjectMeta;
  readonly spec: IssuedCertificateSpec;
  readonly status?: IssuedCertificateResourceStatus;
}

/** `mesh`, `virtualMesh` and `installation` are additions to the reference's API. */
export interface IssuedCertificateSpec {
  readonly hosts?: readonly string[];
  readonly org?: string;
  readonly signingCertificateSecret?: ObjectRef;
  /** Absent where the istiod-agent keeps the certificate in memory, as with Vault. */
  readonly issuedCertificateSecret?: ObjectRef;
  readonly podBounceDirective?: ObjectRef;
  readonly certOptions?: CommonCertOptions;
  readonly glooMeshCa?: { readonly signingCertificateSecret?: ObjectRef };
  readonly agentCa?: IntermediateCertificateAuthority;
  readonly rotationState?: RotationState;
  readonly mesh?: ObjectRef;
  readonly virtualMesh?: ObjectRef;
  readonly installation?: IstiodInstallation;
}

/** Which istiod a certificate is for. */
export interface IstiodInstallation {
  readonly namespace?: string;
  /** Absent: any Deployment of the namespace. */
  readonly deployment?: string;
  readonly serviceAccounts?: readonly string[];
}

export type IssuedCertificateState = "PENDING" | "REQUESTED" | "ISSUED" | "FINISHED" | "FAILED";

/** `status` of the IssuedCertificate resource; on the wire it is certificates.v1.IssuedCertificateStatus. */
export interface IssuedCertificateResourceStatus {
  readonly observedGeneration?: number;
  readonly error?: string;
  readonly state?: IssuedCertificateState;
  readonly appliedGlooMeshCa?: { readonly signingCertificateSecret?: ObjectRef };
  readonly appliedAgentCa?: IntermediateCertificateAuthority;
  readonly observedRotationState?: RotationState;
  readonly replicas?: readonly IssuedCertificateEntry[];
  /** When the first of the intermediates in use ends, RFC 3339. */
  readonly notAfter?: string;
  readonly detached?: boolean;
  readonly conditions?: readonly Condition[];
}

/** What one istiod pod's agent holds. Times are RFC 3339. */
export interface IssuedCertificateReplica {
  readonly podUid: string;
  readonly podName?: string;
  readonly state?: IssuedCertificateState;
  readonly error?: { readonly code?: string; readonly message?: string; readonly hint?: string };
  readonly serial?: string;
  readonly subjectKeyId?: string;
  readonly rootSha256?: string;
  readonly issuer?: string;
  readonly notBefore?: string;
  readonly notAfter?: string;
  readonly renewAt?: string;
  readonly evidence?: string;
  readonly warnings?: readonly string[];
  readonly vaultServer?: string;
  readonly connected?: boolean;
  readonly podNamespace?: string;
  readonly orderVersion?: string;
  readonly directory?: string;
  /** Replica of the agent that holds or held the pod's stream. */
  readonly agent?: string;
}

/** The same as the replicas of the cluster's agent share it. */
export interface IssuedCertificateEntry extends IssuedCertificateReplica {
  /** Replica of the agent where the same pod asks to be linked; the one that holds the stream takes this away. */
  readonly challengedBy?: string;
}

/** Asks the management server to sign; not used where the istiod-agent obtains its signature itself. */
export interface CertificateRequest {
  readonly apiVersion: "certificates.mesh.gloo.solo.io/v1";
  readonly kind: "CertificateRequest";
  readonly metadata: ObjectMeta;
  readonly spec: { readonly certificateSigningRequest?: string };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly error?: string;
    readonly state?: "PENDING" | "FINISHED" | "FAILED";
    readonly signedCertificate?: string;
    readonly signingRootCa?: string;
    readonly certChain?: string;
  };
}
