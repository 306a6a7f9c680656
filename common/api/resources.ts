import type { CertificateRequest, IssuedCertificate } from "./certificates.ts";
import type { KubernetesCluster, Mesh } from "./discovery.ts";
import type { PodBounceDirective } from "./pod-bounce.ts";
import type { VirtualMesh } from "./virtual-mesh.ts";

/** Every kind of resource that has a schema in deploy/crds. */
export type Resource =
  VirtualMesh | Mesh | KubernetesCluster | IssuedCertificate | CertificateRequest | PodBounceDirective;

/** Part of OpenAPI's schema language that structural schemas of Kubernetes use. */
export interface JsonSchema {
  readonly type?: string;
  readonly format?: string;
  readonly nullable?: boolean;
  readonly pattern?: string;
  readonly maxLength?: number;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly not?: JsonSchema;
  readonly allOf?: readonly JsonSchema[];
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-list-type"?: string;
  readonly "x-kubernetes-map-type"?: string;
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
}

/** What a CustomResourceDefinition of deploy/crds says, without its prose. */
export interface ResourceDefinition {
  /** "group/version". */
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
  readonly schema: JsonSchema;
}
