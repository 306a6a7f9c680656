import { isDeepStrictEqual } from "node:util";
import type { IssuedCertificate, IssuedCertificateSpec, VaultKubernetesAuth } from "../../common/api/certificates.ts";
import type { ObjectMeta } from "../../common/api/meta.ts";
import type { IntermediateCertificateAuthority } from "../../common/api/virtual-mesh.ts";
import type { KubeObject, ResourceType } from "../../common/kube/resource-type.ts";
import { wireResource, type WireResource } from "../../common/session/resource-set.ts";
import {
  IssuedCertificate as WireCertificate,
  type ResourceName,
  type VaultCertificateAuthority,
  type VaultKubernetesAuth as WireKubernetesAuth,
} from "../../proto/gen/certificates/v1/certificates.ts";
import { validateCertificate } from "../apply/validate.ts";

export const ISSUED_CERTIFICATES: ResourceType = {
  apiVersion: "certificates.mesh.gloo.solo.io/v1",
  kind: "IssuedCertificate",
  plural: "issuedcertificates",
};

/** How a certificate is in force: by intent; without one, until somebody decides; without one on purpose, while used. */
export type HeldAs = "managed" | "detached" | "released";

/** The wire's own bytes, base64: what an agent acknowledges is a hash of them. */
const CONTENT = "relay.mesh.gloo.solo.io/content";
const HELD = "relay.mesh.gloo.solo.io/held";
/** The reference's labels of what an agent writes: its namespace, and its cluster. */
const AGENT = "agent.certificates.mesh.gloo.solo.io";
const CLUSTER = "agent.networking.mesh.gloo.solo.io";

/** Whose objects: those of an agent's namespace that carry its label. All others are somebody else's. */
export interface Owner {
  readonly namespace: string;
  readonly cluster: string;
}

/** An IssuedCertificate of ours, as far as it can be read. */
export interface StoredCertificate {
  readonly resource: WireResource;
  readonly certificate: WireCertificate;
  readonly heldAs: HeldAs;
}

/** True for an object that this agent made: only those may it change or delete. */
export function isOurs({ metadata }: KubeObject, { namespace }: Owner): boolean {
  return metadata.namespace === namespace && metadata.labels?.[AGENT] === namespace;
}

/** What an object of ours holds; undefined when its annotations have been made unreadable. */
export function readCertificate({ metadata }: KubeObject): StoredCertificate | undefined {
  const { name, namespace = "", annotations = {} } = metadata;
  const resource = wireResource({ namespace, name }, Buffer.from(annotations[CONTENT] ?? "", "base64"));
  try {
    validateCertificate(resource);
  } catch {
    return undefined;
  }
  const held = annotations[HELD];
  const heldAs = held === "detached" || held === "released" ? held : "managed";
  return { resource, certificate: WireCertificate.decode(resource.content), heldAs };
}

/** The object that holds a certificate, without what only the API server knows. */
export function certificateObject(
  { name, content }: WireResource,
  heldAs: HeldAs,
  { namespace, cluster }: Owner,
): Pick<IssuedCertificate, "metadata" | "spec"> {
  return {
    metadata: {
      name: name.name,
      namespace,
      labels: { [AGENT]: namespace, [CLUSTER]: cluster },
      annotations: { [CONTENT]: content.toString("base64"), [HELD]: heldAs },
    },
    spec: specOf(WireCertificate.decode(content)),
  };
}

/** The object with its labels, annotations and spec as they shall be; those of others stay. */
export function withDesired(found: KubeObject, desired: Pick<IssuedCertificate, "metadata" | "spec">): KubeObject {
  const { labels, annotations } = desired.metadata;
  const metadata: ObjectMeta = {
    ...found.metadata,
    labels: { ...found.metadata.labels, ...labels },
    annotations: { ...found.metadata.annotations, ...annotations },
  };
  return { ...found, metadata, spec: desired.spec } as KubeObject;
}

/** True when nobody has changed what is ours in it. */
export function isAsDesired(found: KubeObject, desired: Pick<IssuedCertificate, "metadata" | "spec">): boolean {
  return isDeepStrictEqual(withDesired(found, desired), found);
}

/** What people read; the agent itself reads the annotation. */
function specOf(certificate: WireCertificate): IssuedCertificateSpec {
  const { name, mesh, virtualMesh, hosts, options, installation, autoRestartPods, certificateAuthority } = certificate;
  return {
    hosts,
    ...(options && {
      certOptions: {
        ttlDays: options.ttlDays,
        rsaKeySizeBytes: options.keySizeBits,
        orgName: options.orgName,
        secretRotationGracePeriodRatio: options.secretRotationGracePeriodRatio,
      },
    }),
    ...(certificateAuthority && { agentCa: agentCaOf(certificateAuthority.value) }),
    ...(autoRestartPods && name && { podBounceDirective: refOf(name) }),
    ...(mesh && { mesh: refOf(mesh) }),
    ...(virtualMesh && { virtualMesh: refOf(virtualMesh) }),
    ...(installation && {
      installation: {
        namespace: installation.namespace,
        ...(installation.deployment && { deployment: installation.deployment }),
        serviceAccounts: installation.serviceAccounts,
      },
    }),
  };
}

/** The authority in the resource's form. */
export function agentCaOf(vault: VaultCertificateAuthority): IntermediateCertificateAuthority {
  const { caPath, csrPath, server, namespace, caSource, auth } = vault;
  return {
    vault: {
      caPath,
      server,
      ...(csrPath && { csrPath }),
      ...(namespace && { namespace }),
      ...(caSource?.$case === "caBundle" && { caBundle: caSource.value.toString("base64") }),
      ...(caSource?.$case === "caLocalPath" && { caLocalPath: caSource.value }),
      ...(auth?.$case === "tokenSecretRef" && { tokenSecretRef: refOf(auth.value) }),
      ...(auth?.$case === "kubernetesAuth" && { kubernetesAuth: kubernetesAuthOf(auth.value) }),
    },
  };
}

function kubernetesAuthOf(auth: WireKubernetesAuth): VaultKubernetesAuth {
  const { mountPath, role, secretTokenKey, serviceAccountLocation: location } = auth;
  return {
    mountPath,
    role,
    ...(secretTokenKey && { secretTokenKey }),
    ...(location?.$case === "serviceAccountRef" && { serviceAccountRef: refOf(location.value) }),
    ...(location?.$case === "mountedSaPath" && { mountedSaPath: location.value }),
  };
}

const refOf = ({ namespace, name }: ResourceName) => ({ name, namespace });
