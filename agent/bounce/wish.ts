import {
  CertificateState,
  type IssuedCertificateStatus,
  type ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import type { HeldCertificate } from "../certs/orders.ts";
import type { Istiod } from "../discover/istiod-deployment.ts";
import { istiodOfProxy } from "./attribution.ts";
import type { Wish } from "./decide.ts";
import { topController } from "./plan.ts";
import type { PodFacts } from "./pod.ts";

/** What a certificate asks for, from the order and from what its istiods say. */
export function wishOf({ certificate, detached }: HeldCertificate, status: IssuedCertificateStatus | undefined): Wish {
  return { isAutomatic: certificate.autoRestartPods && !detached, root: provedRoot(status?.replicas ?? []) };
}

/**
 * The root that every linked istiod was seen to sign under. While one signs under another, a restarted pod might get that
 * one's certificate.
 */
function provedRoot(replicas: readonly ReplicaStatus[]): Wish["root"] {
  const linked = replicas.filter(({ connected }) => connected);
  if (linked.length === 0) return { unknown: "waits until an istiod is linked" };
  const unproved = linked.find(({ state }) => state !== CertificateState.CERTIFICATE_STATE_FINISHED);
  if (unproved) return { unknown: `waits until istiod ${unproved.podName} is seen to sign with its certificate` };
  const [root, ...others] = new Set(linked.map(({ rootSha256 }) => Buffer.from(rootSha256).toString("hex")));
  if (!root) return { unknown: "waits until istiod tells its root" };
  return others.length === 0 ? { sha256: root } : { unknown: "waits until all istiods sign under one root" };
}

/** Which pods are of a certificate's mesh: those whose istiod it is for. istiod's own are nobody's. */
export function podsOf({ certificate }: HeldCertificate, istiods: readonly Istiod[]): (pod: PodFacts) => boolean {
  const { namespace = "", deployment = "" } = certificate.installation ?? {};
  const own = new Set(istiods.map((istiod) => `${istiod.namespace}/${istiod.name}`));
  return ({ namespace: place, proxy, controller, labels }) => {
    if (!proxy) return false;
    if (controller && own.has(`${place}/${topController(controller, labels).name}`)) return false;
    const istiod = istiodOfProxy(proxy, istiods);
    return istiod?.namespace === namespace && (deployment === "" || istiod.name === deployment);
  };
}
