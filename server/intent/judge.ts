import type { Mesh } from "../../common/api/discovery.ts";
import { nameOf, refKey, type NamespacedName } from "../../common/api/meta.ts";
import { intentOfMeshes } from "./applied.ts";
import { foldLastGood } from "./last-good.ts";
import type { IntentSnapshot } from "./snapshot.ts";
import { validate } from "./validate.ts";
import type { AcceptedIntent, Verdict } from "./verdict.ts";

/** A mesh that was taken out of a VirtualMesh on purpose. */
export interface TakenOut {
  readonly virtualMesh: NamespacedName;
  /** RFC 3339, with milliseconds: it names the removal. */
  readonly since: string;
}

/** The outcome of one pass over the objects. */
export interface Judgement {
  /** By `refKey` of the VirtualMesh, like `inForce`. */
  readonly verdicts: ReadonlyMap<string, Verdict>;
  readonly inForce: ReadonlyMap<string, AcceptedIntent>;
  /** Which VirtualMesh has a mesh, by the mesh's `refKey`. */
  readonly owners: ReadonlyMap<string, AcceptedIntent>;
  /** What is to be removed and does not stand in its Mesh yet, by the mesh's `refKey`. */
  readonly takenOut: ReadonlyMap<string, TakenOut>;
}

/**
 * Decides, pass by pass, what is in force where the last good intent lies in the Meshes. What it decided goes before what
 * the Meshes say, which is older until it is written; what they say and it does not know (another leader's, or a
 * backup's) is in force as well. So a mesh leaves only when its VirtualMesh says so, as in `foldLastGood`.
 */
export class Judge {
  #inForce: ReadonlyMap<string, AcceptedIntent> = new Map();
  readonly #takenOut = new Map<string, TakenOut>();

  /** `snapshot.meshes` are with their status. */
  pass(snapshot: IntentSnapshot, nowMs: number): Judgement {
    for (const { metadata, status } of snapshot.meshes) {
      if (status?.removal) this.#takenOut.delete(refKey(metadata));
    }
    const previous = this.#previous(snapshot.meshes);
    const verdicts = validate(snapshot, previous);
    const inForce = foldLastGood(previous, verdicts);
    const owners = ownersOf(inForce);
    for (const [key, { ref }] of ownersOf(previous)) {
      const since = new Date(nowMs).toISOString();
      if (!owners.has(key) && !this.#takenOut.has(key)) this.#takenOut.set(key, { virtualMesh: ref, since });
    }
    for (const key of owners.keys()) this.#takenOut.delete(key);
    this.#inForce = inForce;
    return { verdicts, inForce, owners, takenOut: new Map(this.#takenOut) };
  }

  #previous(meshes: readonly Mesh[]): ReadonlyMap<string, AcceptedIntent> {
    const known = ownersOf(this.#inForce);
    const isNews = (mesh: Mesh): boolean => {
      const key = refKey(nameOf(mesh));
      return !known.has(key) && !this.#takenOut.has(key);
    };
    const merged = new Map(this.#inForce);
    for (const [key, told] of intentOfMeshes(meshes.filter(isNews))) {
      const own = merged.get(key);
      merged.set(key, own ? { ...own, meshes: { ...own.meshes, ...told.meshes } } : told);
    }
    return merged;
  }
}

function ownersOf(intents: ReadonlyMap<string, AcceptedIntent>): Map<string, AcceptedIntent> {
  return new Map(
    [...intents.values()].flatMap((intent) => Object.keys(intent.meshes).map((key) => [key, intent] as const)),
  );
}
