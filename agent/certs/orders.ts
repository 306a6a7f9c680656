import { createHash } from "node:crypto";
import {
  IssuedCertificate,
  type ResourceName,
  type VaultCertificateAuthority,
} from "../../proto/gen/certificates/v1/certificates.ts";
import type { Order } from "../../proto/gen/istiod/v1/istiod.ts";
import type { PodIdentity } from "./token-reviewer.ts";

/** An IssuedCertificate that the agent has in force. */
export interface HeldCertificate {
  readonly certificate: IssuedCertificate;
  /** Content hash of the resource as the relay sent it. */
  readonly version: Buffer;
  /** True when its intent was removed while a sidecar still uses it. */
  readonly detached: boolean;
}

/** The cluster's own values where its Vault is another than the VirtualMesh names. */
export interface VaultOverrides {
  readonly server?: string | undefined;
  readonly namespace?: string | undefined;
  /** Path of the kubernetes auth mount. */
  readonly mountPath?: string | undefined;
  /** PEM certificates that verify Vault's own. */
  readonly caBundle?: string | undefined;
}

/** What is the same for all orders of this cluster. */
export interface OrderContext {
  readonly cluster: string;
  readonly vault: VaultOverrides;
}

/** The certificate that a pod shall have, or the reason why there is none, for people. */
export type Assignment =
  | { readonly kind: "order"; readonly held: HeldCertificate; readonly order: Order }
  | { readonly kind: "none"; readonly reason: string };

/** Finds the one certificate of a pod by namespace, deployment (as prefix of the pod's name) and service account. */
export function assignOrder(held: readonly HeldCertificate[], pod: PodIdentity, context: OrderContext): Assignment {
  if (held.length === 0) return none(`no VirtualMesh names a mesh of cluster ${context.cluster} yet`);
  const ofPod = mostSpecific(held.filter(({ certificate }) => ownsPod(certificate, pod)));
  const [match, ...others] = ofPod.filter(({ certificate }) => acceptsAccount(certificate, pod));
  if (!match) return none(whyUnmatched(ofPod, pod));
  if (others.length > 0)
    return none(`pod ${pod.podName} is claimed by ${[match, ...others].map(nameOf).join(" and ")}`);
  if (!match.certificate.certificateAuthority) return none(`${nameOf(match)} names no certificate authority to ask`);
  return { kind: "order", held: match, order: orderOf(match.certificate, context) };
}

/** The order for a certificate: with the cluster's own Vault, where it has one. */
export function orderOf(wanted: IssuedCertificate, { cluster, vault }: OrderContext): Order {
  const certificate = applyOverrides(wanted, vault);
  return { certificate, version: orderVersion(certificate), cluster };
}

/** SHA-256 of the encoded certificate: two orders with the same version ask for the same. */
export function orderVersion(certificate: IssuedCertificate): Buffer {
  return createHash("sha256").update(IssuedCertificate.encode(certificate).finish()).digest();
}

const none = (reason: string): Assignment => ({ kind: "none", reason });

function ownsPod({ installation }: IssuedCertificate, pod: PodIdentity): boolean {
  if (!installation || installation.namespace !== pod.podNamespace) return false;
  if (installation.deployment === "") return true;
  if (pod.deployment !== undefined) return pod.deployment === installation.deployment;
  return pod.podName.startsWith(`${installation.deployment}-`);
}

/** Of "istiod" and "istiod-canary" the longer one owns istiod-canary's pods. */
function mostSpecific(candidates: readonly HeldCertificate[]): readonly HeldCertificate[] {
  const lengthOf = ({ certificate }: HeldCertificate): number => certificate.installation?.deployment.length ?? 0;
  const longest = Math.max(0, ...candidates.map(lengthOf));
  return candidates.filter((candidate) => lengthOf(candidate) === longest);
}

function acceptsAccount({ installation }: IssuedCertificate, { serviceAccount }: PodIdentity): boolean {
  const accounts = installation?.serviceAccounts ?? [];
  return accounts.length === 0 || accounts.includes(serviceAccount);
}

function whyUnmatched([candidate]: readonly HeldCertificate[], pod: PodIdentity): string {
  if (!candidate) return `no IssuedCertificate is for pod ${pod.podName} in namespace ${pod.podNamespace}`;
  const accounts = candidate.certificate.installation?.serviceAccounts.join(", ") ?? "";
  return `${nameOf(candidate)} is for service accounts ${accounts}, the pod runs as ${pod.serviceAccount}`;
}

function nameOf({ certificate }: HeldCertificate): string {
  const { namespace, name }: ResourceName = certificate.name ?? { namespace: "", name: "" };
  return `IssuedCertificate ${name}.${namespace}`;
}

function applyOverrides(certificate: IssuedCertificate, overrides: VaultOverrides): IssuedCertificate {
  const authority = certificate.certificateAuthority;
  if (!authority) return certificate;
  return { ...certificate, certificateAuthority: { $case: "vault", value: overrideVault(authority.value, overrides) } };
}

function overrideVault(vault: VaultCertificateAuthority, overrides: VaultOverrides): VaultCertificateAuthority {
  const { server, namespace, mountPath, caBundle } = overrides;
  const { auth } = vault;
  return {
    ...vault,
    ...(server === undefined ? {} : { server }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(caBundle === undefined ? {} : { caSource: { $case: "caBundle", value: Buffer.from(caBundle) } }),
    ...(mountPath !== undefined && auth?.$case === "kubernetesAuth"
      ? { auth: { $case: "kubernetesAuth", value: { ...auth.value, mountPath } } }
      : {}),
  };
}
