import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { clusterName } from "../fleet.ts";

const NAMESPACE = "gloo-mesh";
const meshName = (number: number): string => `istiod-istio-system-${clusterName(number)}`;

/** Writes the clusters and their meshes, which do not change, into a source directory. */
export async function writeClusters(directory: string, size: number): Promise<void> {
  const documents = Array.from({ length: size }, (_, number) => [
    {
      apiVersion: "multicluster.solo.io/v1alpha1",
      kind: "KubernetesCluster",
      metadata: { name: clusterName(number), namespace: NAMESPACE },
      spec: { clusterDomain: "cluster.local" },
    },
    {
      apiVersion: "discovery.mesh.gloo.solo.io/v1",
      kind: "Mesh",
      metadata: { name: meshName(number), namespace: NAMESPACE },
      spec: {
        agentInfo: { agentNamespace: NAMESPACE },
        istio: {
          installation: { cluster: clusterName(number), namespace: "istio-system", deployment: "istiod" },
          istiodServiceAccount: "istiod-service-account",
          trustDomain: "cluster.local",
        },
      },
    },
  ]);
  const text = documents.flat().map((document) => stringify(document));
  await replaceFile(directory, "clusters.yaml", text.join("---\n"));
}

/** Writes the one VirtualMesh of all clusters; another `ttlDays` changes the intent of each. */
export async function writeVirtualMesh(directory: string, size: number, ttlDays: number): Promise<void> {
  const virtualMesh = {
    apiVersion: "networking.mesh.gloo.solo.io/v1",
    kind: "VirtualMesh",
    metadata: { name: "virtual-mesh", namespace: NAMESPACE },
    spec: {
      mtlsConfig: {
        shared: {
          intermediateCertificateAuthority: {
            vault: {
              caPath: "pki/root/sign-intermediate",
              server: "https://vault.vault:8200",
              kubernetesAuth: { role: "gen-int-ca-istio" },
            },
          },
          intermediateCertOptions: { ttlDays },
        },
      },
      meshes: Array.from({ length: size }, (_, number) => ({ name: meshName(number), namespace: NAMESPACE })),
    },
  };
  await replaceFile(directory, "virtual-mesh.yaml", stringify(virtualMesh));
}

/** As editors do it: a reader sees the old file or the new one. */
async function replaceFile(directory: string, name: string, text: string): Promise<void> {
  const temporary = join(directory, `.${name}`);
  await writeFile(temporary, text);
  await rename(temporary, join(directory, name));
}
