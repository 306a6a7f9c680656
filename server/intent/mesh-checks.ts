import type { Mesh } from "../../common/api/discovery.ts";
import { nameOf, refKey, statusKey, type NamespacedName, type ObjectRef } from "../../common/api/meta.ts";
import { formatPath, formatProblem, type Path, type Problem } from "../../common/api/problem.ts";
import type { IntentSnapshot } from "./snapshot.ts";
import type { AcceptedIntent, MeshVerdict } from "./verdict.ts";

/** What a reference to a mesh is judged by. */
export interface MeshContext {
  /** By `refKey`. */
  readonly meshes: ReadonlyMap<string, Mesh>;
  /** Names of the registered clusters. */
  readonly clusters: ReadonlySet<string>;
  readonly problems: readonly Problem[];
  readonly locate: IntentSnapshot["locate"];
  /** Each mesh in force as it was last seen, whichever VirtualMesh holds it; by `refKey`. */
  readonly lastForms: ReadonlyMap<string, Mesh>;
  /** Which VirtualMesh each mesh belongs to, by the mesh's `refKey`. */
  readonly owners: ReadonlyMap<string, NamespacedName>;
}

export function meshContext(
  snapshot: IntentSnapshot,
  previous: ReadonlyMap<string, AcceptedIntent>,
  owners: MeshContext["owners"],
): MeshContext {
  return {
    meshes: new Map(snapshot.meshes.map((mesh) => [refKey(nameOf(mesh)), mesh])),
    clusters: new Set(snapshot.kubernetesClusters.map(({ metadata }) => metadata.name)),
    problems: snapshot.problems,
    locate: snapshot.locate,
    lastForms: new Map([...previous.values()].flatMap(({ meshes }) => Object.entries(meshes))),
    owners,
  };
}

/**
 * Judges each reference of a VirtualMesh by itself, so that a bad one leaves the others unharmed: INVALID when waiting
 * cannot make it good, PENDING when what it names is not there yet, FAILED when that was there once and its last form
 * stays in force. A repeated reference counts once. Keyed by `statusKey`.
 */
export function judgeMeshes(
  refs: readonly ObjectRef[],
  virtualMesh: NamespacedName,
  context: MeshContext,
): Record<string, MeshVerdict> {
  const verdicts: Record<string, MeshVerdict> = {};
  for (const [index, written] of refs.entries()) {
    const ref = { namespace: written.namespace ?? "", name: written.name ?? "" };
    const path = placeOf(virtualMesh, ["spec", "meshes", index], context);
    const key = statusKey(ref);
    const known = verdicts[key];
    const owner = context.owners.get(refKey(ref));
    if (known) {
      const warning = `${path}: ${refKey(ref)} is listed more than once`;
      verdicts[key] = { ...known, warnings: [...known.warnings, warning] };
    } else if (owner && refKey(owner) !== refKey(virtualMesh)) {
      verdicts[key] = takenBy(owner, ref, path);
    } else {
      verdicts[key] = withLastForm(judgeMesh(ref, path, context), context);
    }
  }
  return verdicts;
}

/** "file:line:column: spec.meshes[1]", or the path alone where there is no file. */
function placeOf(virtualMesh: NamespacedName, path: Path, { locate }: MeshContext): string {
  const place = locate?.({ kind: "VirtualMesh", ...virtualMesh }, path);
  return `${place ? `${place.file}:${place.line}:${place.column}: ` : ""}${formatPath(path)}`;
}

/** What was in force once stays so: the Mesh or the cluster's registration may be missing or broken by mistake. */
function withLastForm(verdict: MeshVerdict, { lastForms }: MeshContext): MeshVerdict {
  const mesh = lastForms.get(refKey(verdict.ref));
  if (verdict.state === "ACCEPTED" || !mesh) return verdict;
  const errors = verdict.errors.map((error) => `${error}; its last form stays in force`);
  return { ...verdict, state: verdict.state === "PENDING" ? "FAILED" : verdict.state, errors, mesh };
}

function judgeMesh(ref: NamespacedName, path: string, context: MeshContext): MeshVerdict {
  if (ref.name === "" || ref.namespace === "") {
    return bad(ref, "INVALID", `${path}: is "${refKey(ref)}", name and namespace are both required`);
  }
  const mesh = context.meshes.get(refKey(ref));
  if (!mesh) return bad(ref, "PENDING", `${path}: ${describeAbsence(ref, context)}`);
  const lack = lackOf(mesh);
  if (lack !== undefined) return bad(ref, "INVALID", `${path}: Mesh ${refKey(ref)} ${lack}`);
  const cluster = clusterOf(mesh);
  if (context.clusters.has(cluster)) return { ref, state: "ACCEPTED", errors: [], warnings: [], mesh };
  const hint = `register it: meshctl cluster register ${cluster}`;
  return bad(ref, "PENDING", `${path}: cluster ${cluster} of Mesh ${refKey(ref)} is not registered (${hint})`);
}

/** The reference's own sentence, which people search for. */
function takenBy(owner: NamespacedName, ref: NamespacedName, path: string): MeshVerdict {
  const message = `Includes a Mesh (${statusName(ref)}) that already is grouped in a VirtualMesh (${statusName(owner)})`;
  return bad(ref, "INVALID", `${path}: ${message}`);
}

const statusName = ({ namespace, name }: NamespacedName): string => `${name}.${namespace}`;

function bad(ref: NamespacedName, state: MeshVerdict["state"], error: string): MeshVerdict {
  return { ref, state, errors: [error], warnings: [] };
}

/** A Mesh that was refused counts as not there yet: its own file is the place to mend. */
function describeAbsence(ref: NamespacedName, { problems }: MeshContext): string {
  const refused = problems.find(({ resource }) => resource?.kind === "Mesh" && refKey(resource) === refKey(ref));
  return refused
    ? `Mesh ${refKey(ref)} was refused: ${formatProblem(refused)}`
    : `Mesh ${refKey(ref)} does not exist yet`;
}

/** What a Mesh lacks to be given a certificate; undefined when nothing. */
export function lackOf({ spec }: Mesh): string | undefined {
  const { istio } = spec;
  if (!istio) return "is no Istio mesh, spec.istio is required";
  if (!istio.installation?.cluster) return "names no cluster, spec.istio.installation.cluster is required";
  if (!istio.installation.namespace) return "names no namespace, spec.istio.installation.namespace is required";
  return undefined;
}

/** Name of the cluster that the mesh is in; "" when the mesh does not say. */
export function clusterOf({ spec }: Mesh): string {
  return spec.istio?.installation?.cluster ?? "";
}
