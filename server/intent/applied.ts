import type { Mesh } from "../../common/api/discovery.ts";
import { completeRef, nameOf, refKey } from "../../common/api/meta.ts";
import type { AcceptedIntent } from "./verdict.ts";

const read = new WeakMap<Mesh, AcceptedIntent>();

/** What is in force for one mesh, by the Mesh itself: the last good intent lies there. One object for one Mesh object. */
export function appliedIntent(mesh: Mesh): AcceptedIntent | undefined {
  const { ref = {}, observedGeneration = 0, acceptanceOrder = 0, spec = {} } = mesh.status?.appliedVirtualMesh ?? {};
  const complete = completeRef(ref);
  if (!complete) return undefined;
  const meshes = { [refKey(nameOf(mesh))]: mesh };
  const intent = read.get(mesh) ?? { ref: complete, generation: observedGeneration, acceptanceOrder, spec, meshes };
  read.set(mesh, intent);
  return intent;
}

/**
 * What is in force for all of them, by VirtualMesh. Meshes of one VirtualMesh may differ when a leader was stopped half-way:
 * the newest generation stands for all of them, since it was accepted for all of them.
 */
export function intentOfMeshes(meshes: Iterable<Mesh>): Map<string, AcceptedIntent> {
  const byVirtualMesh = new Map<string, AcceptedIntent>();
  for (const mesh of meshes) {
    const own = appliedIntent(mesh);
    if (own) byVirtualMesh.set(refKey(own.ref), joined(byVirtualMesh.get(refKey(own.ref)), own));
  }
  return byVirtualMesh;
}

function joined(a: AcceptedIntent | undefined, b: AcceptedIntent): AcceptedIntent {
  if (!a) return b;
  const acceptanceOrder = Math.min(a.acceptanceOrder, b.acceptanceOrder);
  return { ...(b.generation > a.generation ? b : a), acceptanceOrder, meshes: { ...a.meshes, ...b.meshes } };
}
