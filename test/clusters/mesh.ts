/** The whole product on two clusters, stage by stage. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { opensslRoot, type KeyAndCertificate } from "../harness/openssl.ts";
import { startAudit } from "./known-secrets.ts";
import { BOOKINFO_NAMESPACE } from "./bookinfo.ts";
import type { Cluster } from "./cluster.ts";
import { closeCrossing } from "./crossing.ts";
import type { Fleet } from "./fleet.ts";
import { forgetVault, setUpVault } from "./guide-vault.ts";
import { BOOKINFO } from "./images/foreign.ts";
import { applyCrds, installServer, NAMESPACE, register, removeOurs } from "./install.ts";
import { plainIstiod, untilIstiodReady } from "./istiod.ts";

const EXAMPLE = join(import.meta.dirname, "../../examples/virtual-mesh.yaml");

/** The clusters of a fleet; the server runs in the first one. */
export function pairOf({ clusters }: Fleet): readonly [Cluster, Cluster] {
  const [one, two] = clusters;
  if (!one || !two) throw new Error("needs two clusters");
  return [one, two];
}

/** Name of the Mesh and of the IssuedCertificate of a cluster. */
export const meshOf = ({ name }: Cluster): string => `istiod-istio-system-${name}`;

/** A new root, and a Vault with it in each cluster, set up as the guide does; both keep record of what they give. */
export async function giveVaultsOneRoot(fleet: Fleet): Promise<KeyAndCertificate> {
  const root = await opensslRoot("my-org");
  for (const cluster of pairOf(fleet)) {
    await forgetVault(cluster);
    await startAudit(cluster);
    await setUpVault(cluster, root);
  }
  return root;
}

/** The server, and in both clusters our definitions. */
export async function installServerAlone(fleet: Fleet): Promise<void> {
  const [server, two] = pairOf(fleet);
  await Promise.all([applyCrds(server), applyCrds(two)]);
  await installServer(server);
}

/** Server and agents, connected. Nothing beside istiod yet, and no VirtualMesh. */
export async function installOurs(fleet: Fleet): Promise<void> {
  const [server, two] = pairOf(fleet);
  await installServerAlone(fleet);
  for (const cluster of [server, two]) await register({ kubeconfig: fleet.kubeconfig, server, cluster });
}

/** What of the guide's VirtualMesh a test would have otherwise. */
export interface MeshChanges {
  /** Both clusters' meshes when absent. */
  readonly meshes?: readonly Cluster[];
  readonly ttlDays?: number;
  readonly autoRestartPods?: boolean;
  /** Fields of the Vault, in place of the guide's. */
  readonly vault?: object;
}

/** Applies the guide's VirtualMesh, changed. Keys of 2048 bits, since Vault makes them in a fraction of the time. */
export async function applyVirtualMesh(fleet: Fleet, changes: MeshChanges = {}): Promise<void> {
  const [server] = pairOf(fleet);
  const { meshes = fleet.clusters, ttlDays = 30, autoRestartPods = false, vault = {} } = changes;
  const mesh = parse(await readFile(EXAMPLE, "utf8")) as VirtualMesh;
  const { mtlsConfig } = mesh.spec;
  const intermediateCertOptions = { ttlDays, rsaKeySizeBytes: 2048 };
  const authority = mtlsConfig.shared.intermediateCertificateAuthority;
  const intermediateCertificateAuthority = { vault: { ...authority.vault, ...vault } };
  const shared = { ...mtlsConfig.shared, intermediateCertificateAuthority, intermediateCertOptions };
  const named = meshes.map((cluster) => ({ name: meshOf(cluster), namespace: NAMESPACE }));
  const spec = { ...mesh.spec, meshes: named, mtlsConfig: { ...mtlsConfig, autoRestartPods, shared } };
  await server.apply({ ...mesh, spec });
}

interface VirtualMesh {
  readonly spec: {
    readonly mtlsConfig: {
      readonly shared: { readonly intermediateCertificateAuthority: { readonly vault: object } };
    };
  };
}

/** Waits until the VirtualMesh says that every istiod of it is proved to sign. */
export async function untilMeshReady([server]: readonly [Cluster, Cluster]): Promise<void> {
  const args = ["wait", "--for=condition=Ready", "virtualmesh/virtual-mesh", "--namespace", NAMESPACE];
  await server.kubectl([...args, "--timeout=180s"], { timeoutMs: 185_000 });
}

/** Life of a workload's certificate after `restartWorkloads`, so that a test sees its Envoy get another one. */
const LEAF_TTL = "60s";

/** Replaces the pods of the gateway and of bookinfo; their certificates are of short life from then on. */
export async function restartWorkloads(cluster: Cluster): Promise<void> {
  const proxy = JSON.stringify({ proxyMetadata: { SECRET_TTL: LEAF_TTL } });
  const annotations = { "proxy.istio.io/config": proxy, "test/restarted-at": new Date().toISOString() };
  const patch = JSON.stringify({ spec: { template: { metadata: { annotations } } } });
  const workloads = BOOKINFO.map((service) => [BOOKINFO_NAMESPACE, `${service}-v1`] as const);
  const all = [["istio-system", "istio-ingressgateway"] as const, ...workloads];
  for (const [namespace, name] of all) {
    await cluster.kubectl(["patch", "deployment", name, "--namespace", namespace, "--patch", patch]);
  }
  for (const [namespace, name] of all) await cluster.untilRolledOut(namespace, `deploy/${name}`, 180_000);
}

/** Leaves clusters of stage `bookinfo`: nothing of ours, istiods with roots of their own. */
export async function removeMesh(fleet: Fleet): Promise<void> {
  const [one, two] = pairOf(fleet);
  await closeCrossing(one, two);
  for (const cluster of [one, two]) {
    await removeOurs(cluster);
    await plainIstiod(cluster);
    await untilIstiodReady(cluster, 1, 1);
    await restartWorkloads(cluster);
  }
}
