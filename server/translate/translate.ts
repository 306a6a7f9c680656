import type { IssuedCertificate } from "../../common/api/certificates.ts";
import { withDefaults } from "../../common/api/defaults.ts";
import type { Mesh } from "../../common/api/discovery.ts";
import { nameOf, refKey, type NamespacedName } from "../../common/api/meta.ts";
import { clusterOf } from "../intent/mesh-checks.ts";
import type { AcceptedIntent } from "../intent/verdict.ts";

/** Label of everything that the management server writes into a cluster: the namespace of the server. */
const OWNER_LABEL = "owner.networking.mesh.gloo.solo.io";
/** Annotation with the resources that something was made from: JSON, kind to references. */
const PARENTS_ANNOTATION = "parents.networking.mesh.gloo.solo.io";

/** Where an agent lives when its Mesh does not say. */
const DEFAULT_NAMESPACE = "gloo-mesh";
/** Names that releases of Istio gave to istiod's service account. */
const ISTIOD_ACCOUNTS = ["istiod", "istiod-service-account"] as const;

/**
 * What each cluster shall hold, by the cluster's name, in order of namespace and name; `ownNamespace` is the management
 * server's. The same intent always gives the same result. A cluster has an entry as long as a mesh of it is in force,
 * also when there is nothing to obtain.
 */
export function translate(
  intents: Iterable<AcceptedIntent>,
  ownNamespace: string = DEFAULT_NAMESPACE,
): Map<string, IssuedCertificate[]> {
  const byCluster = new Map<string, IssuedCertificate[]>();
  for (const intent of intents) {
    for (const mesh of Object.values(intent.meshes)) {
      const certificates = byCluster.get(clusterOf(mesh)) ?? [];
      const certificate = issuedCertificate(intent, mesh, ownNamespace);
      byCluster.set(clusterOf(mesh), certificate ? [...certificates, certificate] : certificates);
    }
  }
  const sorted = [...byCluster].sort(([a], [b]) => (a < b ? -1 : 1));
  return new Map(sorted.map(([cluster, certificates]) => [cluster, certificates.sort(byName)]));
}

const byName = (a: IssuedCertificate, b: IssuedCertificate): number => (refKey(nameOf(a)) < refKey(nameOf(b)) ? -1 : 1);

/**
 * What each cluster held before and shall not hold any more, by the cluster's name. Both sides come from intent in
 * force, which nothing leaves by absence, so each of these was taken out on purpose.
 */
export function removalsBetween(
  before: ReadonlyMap<string, readonly IssuedCertificate[]>,
  after: ReadonlyMap<string, readonly IssuedCertificate[]>,
): Map<string, NamespacedName[]> {
  const removals = [...before].map(([cluster, held]): [string, NamespacedName[]] => {
    const kept = new Set((after.get(cluster) ?? []).map((certificate) => refKey(nameOf(certificate))));
    return [cluster, held.map(nameOf).filter((name) => !kept.has(refKey(name)))];
  });
  return new Map(removals.filter(([, names]) => names.length > 0));
}

/** Name of a mesh's IssuedCertificate: the Mesh's own, in the namespace of the cluster's agent. */
export function certificateName({ metadata, spec }: Mesh): NamespacedName {
  return { namespace: spec.agentInfo?.agentNamespace ?? DEFAULT_NAMESPACE, name: metadata.name };
}

/** What an intent asks of one mesh; nothing where it leaves certificates alone or asks for a root that nobody makes yet. */
export function issuedCertificate(
  intent: Omit<AcceptedIntent, "meshes">,
  mesh: Mesh,
  ownNamespace: string,
): IssuedCertificate | undefined {
  const shared = withDefaults(intent.spec).mtlsConfig?.shared;
  const vault = shared?.intermediateCertificateAuthority?.vault;
  if (!vault) return undefined;
  return {
    apiVersion: "certificates.mesh.gloo.solo.io/v1",
    kind: "IssuedCertificate",
    metadata: {
      ...certificateName(mesh),
      labels: { [OWNER_LABEL]: ownNamespace },
      annotations: {
        [PARENTS_ANNOTATION]: JSON.stringify({ "networking.mesh.gloo.solo.io/v1, Kind=VirtualMesh": [intent.ref] }),
      },
    },
    spec: {
      ...installationOf(mesh),
      ...(shared.intermediateCertOptions && { certOptions: shared.intermediateCertOptions }),
      agentCa: { vault },
      ...(intent.spec.mtlsConfig?.autoRestartPods && { podBounceDirective: certificateName(mesh) }),
      mesh: nameOf(mesh),
      virtualMesh: intent.ref,
    },
  };
}

/** The identity that the intermediate is for, and the istiod that may have it. */
function installationOf({ spec: { istio } }: Mesh): Pick<IssuedCertificate["spec"], "hosts" | "installation"> {
  const { namespace = "istio-system", deployment } = istio?.installation ?? {};
  const account = istio?.istiodServiceAccount;
  const trustDomain = istio?.trustDomain ? istio.trustDomain : "cluster.local";
  return {
    hosts: [`spiffe://${trustDomain}/ns/${namespace}/sa/${account ?? ISTIOD_ACCOUNTS[0]}`],
    installation: {
      namespace,
      ...(deployment !== undefined && { deployment }),
      serviceAccounts: account === undefined ? ISTIOD_ACCOUNTS : [account],
    },
  };
}
