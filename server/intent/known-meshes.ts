import type { Mesh } from "../../common/api/discovery.ts";
import { nameOf, refKey } from "../../common/api/meta.ts";
import type { KnownMesh } from "../../proto/gen/admin/v1/admin.ts";
import { clusterOf, lackOf } from "./mesh-checks.ts";
import type { AcceptedIntent } from "./verdict.ts";

/**
 * The Meshes of a cluster and what is in force for each, in order of namespace and name: those that are there, and the last
 * forms of those that are in force without being there any more.
 */
export function knownMeshes(cluster: string, there: Iterable<Mesh>, inForce: Iterable<AcceptedIntent>): KnownMesh[] {
  const known = new Map<string, KnownMesh>();
  for (const mesh of there) {
    if (isOf(mesh, cluster)) known.set(refKey(nameOf(mesh)), toKnown(mesh));
  }
  for (const { ref, generation, meshes } of inForce) {
    for (const [key, lastForm] of Object.entries(meshes)) {
      const mesh = known.get(key) ?? (isOf(lastForm, cluster) ? toKnown(lastForm) : undefined);
      if (mesh) known.set(key, { ...mesh, virtualMesh: ref, generation: BigInt(generation) });
    }
  }
  return [...known].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, mesh]) => mesh);
}

/** One that names no cluster has no certificate, and is nobody's. */
const isOf = (mesh: Mesh, cluster: string): boolean => mesh.spec.istio !== undefined && clusterOf(mesh) === cluster;

const toKnown = (mesh: Mesh): KnownMesh => {
  return { mesh: nameOf(mesh), virtualMesh: undefined, generation: 0n, lack: lackOf(mesh) ?? "" };
};
