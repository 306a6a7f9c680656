import { isDeepStrictEqual } from "node:util";
import { nameOf, refKey, type NamespacedName } from "../../common/api/meta.ts";
import { formatPath, formatProblem, type Problem } from "../../common/api/problem.ts";
import type { VirtualMesh, VirtualMeshSpec } from "../../common/api/virtual-mesh.ts";
import type { IntentSnapshot } from "./snapshot.ts";
import { checkSpec } from "./spec-checks.ts";
import type { AcceptedIntent, Outcome, SpecFault } from "./verdict.ts";

/** A VirtualMesh that is in the source or in force from earlier, judged by itself. */
export interface Candidate {
  readonly ref: NamespacedName;
  readonly outcome: Outcome;
  /** Why it was refused, or is missing. */
  readonly errors: readonly string[];
  /** Present when accepted. */
  readonly spec?: VirtualMeshSpec;
  readonly generation: number;
  readonly previous: AcceptedIntent | undefined;
}

/** All of them by precedence: accepted first, then older, then by name. */
export function candidatesOf(
  snapshot: IntentSnapshot,
  previous: ReadonlyMap<string, AcceptedIntent>,
): readonly Candidate[] {
  const present = new Map(snapshot.virtualMeshes.map((virtualMesh) => [refKey(nameOf(virtualMesh)), virtualMesh]));
  const earlier = [...previous.values()].map(({ ref }) => ref);
  const broken = brokenMeshes(snapshot, earlier);
  const refs = [...[...present.values()].map(nameOf), ...broken.map(({ ref }) => ref), ...earlier];
  const byKey = new Map(refs.map(({ namespace, name }) => [refKey({ namespace, name }), { namespace, name }]));
  return [...byKey]
    .map(([key, ref]): Entry => ({ key, ref, virtualMesh: present.get(key), previous: previous.get(key) }))
    .sort(byPrecedence)
    .map((entry) => {
      const judged = judgeSource(entry, snapshot, broken);
      return { ref: entry.ref, ...judged, generation: generationOf(entry, judged.outcome), previous: entry.previous };
    });
}

/** A problem of a VirtualMesh that could be read so far that its name is known. */
interface BrokenMesh {
  readonly ref: NamespacedName;
  readonly problem: Problem;
}

/** Broken text may end before its namespace: then the one VirtualMesh in force that has the name is meant. */
function brokenMeshes({ problems }: IntentSnapshot, earlier: readonly NamespacedName[]): BrokenMesh[] {
  return problems.flatMap((problem): BrokenMesh[] => {
    const { resource } = problem;
    if (resource?.kind !== "VirtualMesh") return [];
    const namesakes = earlier.filter(({ name }) => name === resource.name);
    const [meant] = resource.namespace === "" && namesakes.length === 1 ? namesakes : [resource];
    return meant ? [{ ref: { namespace: meant.namespace, name: meant.name }, problem }] : [];
  });
}

interface Entry {
  readonly key: string;
  readonly ref: NamespacedName;
  readonly virtualMesh: VirtualMesh | undefined;
  readonly previous: AcceptedIntent | undefined;
}

function byPrecedence(a: Entry, b: Entry): number {
  return (
    orderOf(a) - orderOf(b) || compare(createdAt(a.virtualMesh), createdAt(b.virtualMesh)) || compare(a.key, b.key)
  );
}

/** The API server's number; a file has none, so each spec that differs from the one in force counts as the next. */
function generationOf({ virtualMesh, previous }: Entry, outcome: Outcome): number {
  const inForce = previous?.generation ?? 0;
  if (virtualMesh?.metadata.generation !== undefined) return virtualMesh.metadata.generation;
  if (outcome === "missing") return inForce;
  return previous && virtualMesh && isDeepStrictEqual(previous.spec, virtualMesh.spec) ? inForce : inForce + 1;
}

function judgeSource(
  { key, virtualMesh }: Entry,
  snapshot: IntentSnapshot,
  broken: readonly BrokenMesh[],
): Pick<Candidate, "outcome" | "errors" | "spec"> {
  const own = broken.filter(({ ref }) => refKey(ref) === key);
  if (own.length > 0) return { outcome: "refused", errors: own.map(({ problem }) => formatProblem(problem)) };
  if (!virtualMesh) {
    const unreadable = snapshot.problems.filter(({ resource }) => resource === undefined);
    return { outcome: "missing", errors: unreadable.map(formatProblem) };
  }
  if (virtualMesh.metadata.deletionTimestamp !== undefined) return { outcome: "removed", errors: [] };
  const errors = checkSpec(virtualMesh.spec).map((fault) => formatFault(fault, virtualMesh, snapshot));
  return errors.length > 0 ? { outcome: "refused", errors } : { outcome: "accepted", errors, spec: virtualMesh.spec };
}

function formatFault({ path, message, hint }: SpecFault, virtualMesh: VirtualMesh, snapshot: IntentSnapshot): string {
  const place = snapshot.locate?.({ kind: virtualMesh.kind, ...nameOf(virtualMesh) }, path);
  const problem: Problem = { code: "resource_invalid", path: formatPath(path), message, ...place };
  return formatProblem(hint === undefined ? problem : { ...problem, hint });
}

const orderOf = ({ previous }: Entry): number => previous?.acceptanceOrder ?? Number.MAX_SAFE_INTEGER;

/** After all times where there is none, as in files. */
const createdAt = (virtualMesh: VirtualMesh | undefined): string => virtualMesh?.metadata.creationTimestamp ?? "~";

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
