import { completeRef, refKey, type NamespacedName } from "../../common/api/meta.ts";
import type { Candidate } from "./candidates.ts";

/**
 * Which VirtualMesh each mesh belongs to, by the mesh's `refKey`; `candidates` stand by precedence. A mesh in force
 * stays with the VirtualMesh that holds it, as long as that one lists it or was refused and cannot be asked; else the
 * first that lists it has it. One that is missing, or lists it no more, holds nothing against another's claim.
 */
export function ownersOf(candidates: readonly Candidate[]): Map<string, NamespacedName> {
  const owners = new Map<string, NamespacedName>();
  const claim = (keys: readonly string[], ref: NamespacedName): void => {
    for (const key of keys) if (!owners.has(key)) owners.set(key, ref);
  };
  for (const candidate of candidates) {
    const listed = new Set(listedBy(candidate));
    const held = Object.keys(candidate.previous?.meshes ?? {});
    const claimed = held.filter((key) => candidate.outcome === "refused" || listed.has(key));
    claim(claimed, candidate.ref);
  }
  for (const candidate of candidates) claim(listedBy(candidate), candidate.ref);
  return owners;
}

function listedBy({ spec }: Candidate): string[] {
  return (spec?.meshes ?? []).flatMap((ref) => (completeRef(ref) ? [refKey(ref)] : []));
}
