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
import { patchIstiod, plainIstiod, untilIstiodReady } from "./istiod.ts";

const EXAMPLE = join(import.meta.dirname, "../../examples/virtual-mesh.yaml");

/** The clusters of a fleet; the server runs in the first one. */
export function pairOf({ clusters }: Fleet): readonly [Cluster, Cluster] {
  const [one, two] = clusters;
  if (!one || !two) throw new Error("needs two clusters");
  return [one, two];
}

/** The fleet of a suite that one cluster is enough for: the server lives in it, and its mesh is the only one. */
export const onlyFirst = (fleet: Fleet): Fleet => ({ ...fleet, clusters: fleet.clusters.slice(0, 1) });

function serverOf({ clusters: [first] }: Fleet): Cluster {
  if (!first) throw new Error("needs a cluster");
  return first;
}

/** Name of the Mesh and of the IssuedCertificate of a cluster. */
export const meshOf = ({ name }: Cluster): string => `istiod-istio-system-${name}`;

/** A new root, and a Vault with it in each cluster, set up as the guide does; both keep record of what they give. */
export async function giveVaultsOneRoot(fleet: Fleet): Promise<KeyAndCertificate> {
  const root = await opensslRoot("my-org");
  const setUp = async (cluster: Cluster): Promise<void> => {
    await forgetVault(cluster);
    await startAudit(cluster);
    await setUpVault(cluster, root);
  };
  await Promise.all(fleet.clusters.map(setUp));
  return root;
}

/** Values of our charts beside those that a test cannot do without. */
export interface ChartValues {
  readonly server?: object;
  readonly agent?: object;
}

/** The server, and our definitions in all clusters. */
export async function installServerAlone(fleet: Fleet, values: object = {}): Promise<void> {
  await Promise.all(fleet.clusters.map(applyCrds));
  await installServer(serverOf(fleet), values);
}

/** Server and agents, connected. Nothing beside istiod yet, and no VirtualMesh. */
export async function installOurs(fleet: Fleet, values: ChartValues = {}): Promise<void> {
  const server = serverOf(fleet);
  const { kubeconfig } = fleet;
  await installServerAlone(fleet, values.server);
  for (const cluster of fleet.clusters) await register({ kubeconfig, server, cluster }, values.agent);
}

/** All of it: every istiod of the fleet signs below the root that is returned, and the VirtualMesh says so. */
export async function bringUpMesh(fleet: Fleet, values: ChartValues = {}): Promise<KeyAndCertificate> {
  const [root] = await Promise.all([giveVaultsOneRoot(fleet), installOurs(fleet, values)]);
  await Promise.all([applyVirtualMesh(fleet), ...fleet.clusters.map((cluster) => patchIstiod(cluster))]);
  for (const cluster of fleet.clusters) await untilIstiodReady(cluster);
  await untilMeshReady([serverOf(fleet)]);
  return root;
}

/** What of the guide's VirtualMesh a test would have otherwise. */
export interface MeshChanges {
  /** The meshes of all clusters when absent. */
  readonly meshes?: readonly Cluster[];
  readonly ttlDays?: number;
  readonly autoRestartPods?: boolean;
  /** Fields of the Vault, in place of the guide's. */
  readonly vault?: object;
}

/** Applies the guide's VirtualMesh, changed. Keys of 2048 bits, since Vault makes them in a fraction of the time. */
export async function applyVirtualMesh(fleet: Fleet, changes: MeshChanges = {}): Promise<void> {
  const server = serverOf(fleet);
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
export async function untilMeshReady([server]: readonly [Cluster, ...Cluster[]]): Promise<void> {
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
  const [one, two] = fleet.clusters;
  if (one && two) await closeCrossing(one, two);
  const leave = async (cluster: Cluster): Promise<void> => {
    await removeOurs(cluster);
    await plainIstiod(cluster);
    await untilIstiodReady(cluster, 1, 1);
    await restartWorkloads(cluster);
  };
  await Promise.all(fleet.clusters.map(leave));
}
