import type { KubernetesCluster, Mesh } from "../../common/api/discovery.ts";
import type { ObjectMeta } from "../../common/api/meta.ts";
import type { VirtualMesh, VirtualMeshSpec } from "../../common/api/virtual-mesh.ts";
import type { IntentSnapshot } from "./snapshot.ts";

/** Resources for the tests of this room and its neighbours, shaped as the guide's. */

export const GUIDE_VAULT = {
  server: "http://vault.vault:8200",
  caPath: "pki/root/sign-intermediate",
  csrPath: "pki_int/intermediate/generate/exported",
  kubernetesAuth: { role: "gen-int-ca-istio" },
} as const;

export const GUIDE_TRUST = {
  mtlsConfig: { shared: { intermediateCertificateAuthority: { vault: GUIDE_VAULT } } },
} as const satisfies VirtualMeshSpec;

/** A Mesh by the number of its cluster, named as discovery names it. */
export function meshOf(number: number, installation: object = {}): Mesh {
  const cluster = `cluster-${number}`;
  return {
    apiVersion: "discovery.mesh.gloo.solo.io/v1",
    kind: "Mesh",
    metadata: { name: `istiod-istio-system-${cluster}`, namespace: "gloo-mesh" },
    spec: { istio: { installation: { cluster, namespace: "istio-system", ...installation } } },
  };
}

export const meshRef = (number: number): { name: string; namespace: string } => ({
  name: `istiod-istio-system-cluster-${number}`,
  namespace: "gloo-mesh",
});

export function clusterNamed(name: string): KubernetesCluster {
  return {
    apiVersion: "multicluster.solo.io/v1alpha1",
    kind: "KubernetesCluster",
    metadata: { name, namespace: "gloo-mesh" },
  };
}

/** A VirtualMesh of the meshes with these numbers, with the guide's trust. */
export function virtualMeshOf(
  name: string,
  numbers: readonly number[],
  spec: VirtualMeshSpec = {},
  metadata: Partial<ObjectMeta> = {},
): VirtualMesh {
  return {
    apiVersion: "networking.mesh.gloo.solo.io/v1",
    kind: "VirtualMesh",
    metadata: { name, namespace: "gloo-mesh", ...metadata },
    spec: { ...GUIDE_TRUST, meshes: numbers.map(meshRef), ...spec },
  };
}

/** A snapshot of these VirtualMeshes and, unless told otherwise, three meshes in three registered clusters. */
export function snapshotWith(
  virtualMeshes: readonly VirtualMesh[],
  rest: Partial<IntentSnapshot> = {},
): IntentSnapshot {
  return {
    virtualMeshes,
    meshes: [1, 2, 3].map((number) => meshOf(number)),
    kubernetesClusters: [1, 2, 3].map((number) => clusterNamed(`cluster-${number}`)),
    problems: [],
    ...rest,
  };
}
