import type { Condition, ObjectMeta, ObjectRef } from "./meta.ts";

/** Which pods of a mesh are restarted, in order, when its root changed. The cluster's agent writes it. */
export interface PodBounceDirective {
  readonly apiVersion: "certificates.mesh.gloo.solo.io/v1";
  readonly kind: "PodBounceDirective";
  readonly metadata: ObjectMeta;
  readonly spec: PodBounceDirectiveSpec;
  readonly status?: PodBounceDirectiveStatus;
}

/** `issuedCertificate`, `rootSha256` and `restartRequestedAt` are additions to the reference's API. */
export interface PodBounceDirectiveSpec {
  readonly podsToBounce?: readonly PodSelector[];
  readonly issuedCertificate?: ObjectRef;
  readonly rootSha256?: string;
  /** RFC 3339. */
  readonly restartRequestedAt?: string;
}

/** A group of pods that is restarted together. */
export interface PodSelector {
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly waitForReplicas?: number;
  readonly rootCertSync?: {
    readonly secretRef?: ObjectRef;
    readonly secretKey?: string;
    readonly configMapRef?: ObjectRef;
    readonly configMapKey?: string;
  };
}

export type PodBounceState = "PENDING" | "BOUNCING_PODS" | "FINISHED" | "FAILED";

export interface PodBounceDirectiveStatus {
  readonly observedGeneration?: number;
  /** Index-aligned with `spec.podsToBounce`. */
  readonly podsBounced?: readonly { readonly bouncedPods?: readonly string[] }[];
  readonly state?: PodBounceState;
  readonly error?: string;
  readonly message?: string;
  readonly restarted?: number;
  readonly remaining?: number;
  /** "namespace/name" of pods that nobody would replace. */
  readonly unmanaged?: readonly string[];
  readonly conditions?: readonly Condition[];
}
