import type { KubernetesCluster, Mesh } from "../../common/api/discovery.ts";
import { nameOf, refKey } from "../../common/api/meta.ts";
import { parseResources, type ParsedFile, type ParsedResource } from "../../common/api/parse.ts";
import type { Path, Position, Problem, ResourceId } from "../../common/api/problem.ts";
import type { Resource } from "../../common/api/resources.ts";
import type { VirtualMesh } from "../../common/api/virtual-mesh.ts";
import type { SourceFault, SourceSnapshot } from "../store/source-directory.ts";

/** Everything that the management server knows of what people want, at one moment. */
export interface IntentSnapshot {
  /** Only those that fit their schema. */
  readonly virtualMeshes: readonly VirtualMesh[];
  readonly meshes: readonly Mesh[];
  readonly kubernetesClusters: readonly KubernetesCluster[];
  /** What was refused before: text that is no YAML, and resources that do not fit their schema. */
  readonly problems: readonly Problem[];
  /** Where a part of a resource stands, for resources that come from files. */
  readonly locate?: (id: ResourceId, path: Path) => (Position & { readonly file: string }) | undefined;
}

/** What a source gives: its resources, and what of it cannot be read. */
export interface SourcedIntent {
  readonly snapshot: IntentSnapshot;
  readonly faults: readonly SourceFault[];
}

/** Reads the files of a directory. Never throws: what is wrong with them is in the snapshot's problems. */
export function intentOfFiles({ files, faults }: SourceSnapshot): SourcedIntent {
  return { snapshot: snapshotOf(files.map(({ text, file }) => parseResources(text, file))), faults };
}

/** Groups resources by their kind. */
export function byKind(
  resources: readonly Resource[],
): Pick<IntentSnapshot, "virtualMeshes" | "meshes" | "kubernetesClusters"> {
  return {
    virtualMeshes: resources.filter((resource) => resource.kind === "VirtualMesh"),
    meshes: resources.filter((resource) => resource.kind === "Mesh"),
    kubernetesClusters: resources.filter((resource) => resource.kind === "KubernetesCluster"),
  };
}

/**
 * Joins files into one snapshot. A resource that is defined more than once is not used at all, since nobody can say
 * which one is meant; each of its definitions gives a problem that names the others.
 */
export function snapshotOf(files: readonly ParsedFile[]): IntentSnapshot {
  const byId = new Map<string, ParsedResource[]>();
  for (const parsed of files.flatMap(({ resources }) => resources)) {
    const id = idKey(idOf(parsed.resource));
    byId.set(id, [...(byId.get(id) ?? []), parsed]);
  }
  const groups = [...byId.values()];
  const unique = groups.flatMap((group) => (group.length === 1 ? group : []));
  return {
    ...byKind(unique.map(({ resource }) => resource)),
    problems: [...files.flatMap(({ problems }) => problems), ...groups.flatMap(duplicateProblems)],
    locate: (id, path) => {
      const parsed = byId.get(idKey(id))?.[0];
      return parsed && { file: parsed.file, ...parsed.locate(path) };
    },
  };
}

function duplicateProblems(group: readonly ParsedResource[]): Problem[] {
  if (group.length === 1) return [];
  return group.map((parsed) => {
    const others = group.filter((other) => other !== parsed).map(placeOf);
    const resource = idOf(parsed.resource);
    return {
      code: "resource_invalid",
      path: "metadata.name",
      message: `${resource.kind} ${refKey(resource)} is defined again at ${others.join(", ")}`,
      file: parsed.file,
      ...parsed.locate(["metadata", "name"]),
      resource,
    };
  });
}

function placeOf({ file, locate }: ParsedResource): string {
  return `${file}:${locate(["metadata", "name"]).line}`;
}

const idOf = (resource: Resource): ResourceId => ({ kind: resource.kind, ...nameOf(resource) });

const idKey = (id: ResourceId): string => `${id.kind}/${refKey(id)}`;
