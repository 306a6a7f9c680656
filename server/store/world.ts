import type { KubernetesCluster, Mesh } from "../../common/api/discovery.ts";
import { refKey } from "../../common/api/meta.ts";
import { formatPath, type Problem } from "../../common/api/problem.ts";
import type { Resource } from "../../common/api/resources.ts";
import { checkSchema, definitionOf } from "../../common/api/schema.ts";
import type { VirtualMesh, VirtualMeshStatus } from "../../common/api/virtual-mesh.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import type { IntentSnapshot } from "../intent/snapshot.ts";
import type { SourceFault } from "./source-directory.ts";

/**
 * The objects of an API server that intent and status are made of, at one moment, by `refKey` and in its order, with
 * their status. One that did not change is the same object as before.
 */
export interface World {
  readonly virtualMeshes: ReadonlyMap<string, VirtualMesh>;
  readonly meshes: ReadonlyMap<string, Mesh>;
  readonly kubernetesClusters: ReadonlyMap<string, KubernetesCluster>;
  /** The VirtualMeshes as they are stored, with those that do not fit their schema: each has a place for its status. */
  readonly stored: ReadonlyMap<string, StoredVirtualMesh>;
  /** Of objects that do not fit their schema (of another version); they are left out. */
  readonly problems: readonly Problem[];
  /** What cannot be followed: what was read last stands. */
  readonly faults: readonly SourceFault[];
}

/** A VirtualMesh of which nothing is known but that it is one. */
export interface StoredVirtualMesh extends KubeObject {
  readonly status?: VirtualMeshStatus;
}

type Objects = ReadonlyMap<string, KubeObject>;

/** The collections as they were listed and watched. */
export interface WorldObjects {
  readonly virtualMeshes: Objects;
  readonly meshes: Objects;
  readonly kubernetesClusters: Objects;
}

/** Reads objects. Each version of one is checked once, however many others change. */
export class WorldReader {
  readonly #problems = new WeakMap<KubeObject, readonly Problem[]>();

  read(objects: WorldObjects, faults: readonly SourceFault[]): World {
    const collections = [objects.virtualMeshes, objects.meshes, objects.kubernetesClusters];
    return {
      virtualMeshes: this.#sound<VirtualMesh>(objects.virtualMeshes),
      meshes: this.#sound<Mesh>(objects.meshes),
      kubernetesClusters: this.#sound<KubernetesCluster>(objects.kubernetesClusters),
      stored: new Map(sorted([...objects.virtualMeshes])),
      problems: collections.flatMap((each) => [...each.values()].flatMap((object) => this.#problemsOf(object))),
      faults,
    };
  }

  #sound<T extends Resource>(objects: Objects): ReadonlyMap<string, T> {
    const sound = [...objects].filter(([, object]) => this.#problemsOf(object).length === 0);
    return new Map(sorted(sound) as unknown as [string, T][]);
  }

  #problemsOf(object: KubeObject): readonly Problem[] {
    const known = this.#problems.get(object) ?? findProblems(object);
    this.#problems.set(object, known);
    return known;
  }
}

/** What is said of objects must not depend on the order in which a replica happened to hear of them. */
const sorted = <T>(entries: readonly (readonly [string, T])[]) => entries.toSorted(([a], [b]) => (a < b ? -1 : 1));

/** What people want, by these objects. */
export function snapshotOf({ virtualMeshes, meshes, kubernetesClusters, problems }: World): IntentSnapshot {
  return {
    virtualMeshes: [...virtualMeshes.values()],
    meshes: [...meshes.values()],
    kubernetesClusters: [...kubernetesClusters.values()],
    problems,
  };
}

/** Changes with all that a judgement is made of, and with nothing that agents report. */
export function intentVersion(world: World): string {
  const { virtualMeshes, meshes, kubernetesClusters, problems } = world;
  const ofMeshes = [...meshes.values()].map(({ metadata, status }) => {
    const { appliedVirtualMesh: applied, removal } = status ?? {};
    return [versionOf({ metadata }), applied?.ref, applied?.observedGeneration, removal?.since];
  });
  return JSON.stringify([
    [...virtualMeshes.values()].map(versionOf),
    ofMeshes,
    [...kubernetesClusters.keys()],
    problems,
  ]);
}

/** The API server counts `generation` up with each change but those of the status. */
const versionOf = ({ metadata }: Pick<KubeObject, "metadata">): readonly unknown[] => {
  const { namespace, name, uid, generation, deletionTimestamp } = metadata;
  return [namespace, name, uid, generation, deletionTimestamp];
};

/** The status is written here, and may be a newer version's. */
function findProblems(object: KubeObject): Problem[] {
  const { apiVersion, kind, metadata } = object;
  const { namespace = "", name } = metadata;
  const { status: _status, ...written } = object as KubeObject & { readonly status?: unknown };
  return checkSchema(definitionOf(apiVersion, kind), written).map(({ path, message }) => ({
    code: "resource_invalid",
    path: formatPath(path),
    message,
    // In the place of a file's name: logs and the list of problems show nothing else of where it is.
    file: `${kind} ${refKey(metadata)}`,
    resource: { kind, namespace, name },
  }));
}
