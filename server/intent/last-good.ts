import type { Mesh } from "../../common/api/discovery.ts";
import { refKey } from "../../common/api/meta.ts";
import type { AcceptedIntent, Verdict } from "./verdict.ts";

/**
 * What is in force after the verdicts, which `validate` gave for the same `previous`. Keyed by `refKey`; a store keeps
 * it over restarts.
 *
 * Nothing leaves by absence. A refused or missing VirtualMesh keeps what it had, except meshes that another one lists.
 * A Mesh that vanished keeps its last form. A mesh leaves only when its VirtualMesh is deleted on purpose, or lists it
 * no more while all that it does list is good.
 */
export function foldLastGood(
  previous: ReadonlyMap<string, AcceptedIntent>,
  verdicts: ReadonlyMap<string, Verdict>,
): Map<string, AcceptedIntent> {
  const inForce = new Map<string, AcceptedIntent>();
  for (const [key, verdict] of verdicts) {
    const intent = nextIntent(verdict, previous.get(key));
    if (intent) inForce.set(key, intent);
  }
  return inForce;
}

function nextIntent(verdict: Verdict, previous: AcceptedIntent | undefined): AcceptedIntent | undefined {
  const { outcome, ref, spec, acceptanceOrder, generation } = verdict;
  if (outcome === "removed") return undefined;
  if (outcome === "accepted" && spec && acceptanceOrder !== undefined) {
    return { ref, generation, acceptanceOrder, spec, meshes: meshesInForce(verdict) };
  }
  return previous && { ...previous, meshes: meshesInForce(verdict) };
}

function meshesInForce({ meshes }: Verdict): Record<string, Mesh> {
  return Object.fromEntries(
    Object.values(meshes).flatMap(({ ref, mesh }): [string, Mesh][] => (mesh ? [[refKey(ref), mesh]] : [])),
  );
}
