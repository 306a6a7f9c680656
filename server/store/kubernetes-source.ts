import { refKey } from "../../common/api/meta.ts";
import { formatPath, type Problem } from "../../common/api/problem.ts";
import type { Resource, ResourceDefinition } from "../../common/api/resources.ts";
import { checkSchema, findDefinition } from "../../common/api/schema.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import { Reflector } from "../../common/kube/reflector.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import { byKind, type IntentSnapshot, type SourcedIntent } from "../intent/snapshot.ts";
import type { SourceFault } from "./source-directory.ts";

/** Changes this close together become one snapshot: `kubectl apply` writes object by object. */
const QUIET_MS = 50;

const VIRTUAL_MESH = definitionOf("networking.mesh.gloo.solo.io/v1", "VirtualMesh");
const OTHERS = [
  definitionOf("discovery.mesh.gloo.solo.io/v1", "Mesh"),
  definitionOf("multicluster.solo.io/v1alpha1", "KubernetesCluster"),
];

export interface KubernetesSourceOptions {
  readonly client: KubeClient;
  /** undefined: all namespaces. */
  readonly namespace: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/**
 * Follows the VirtualMeshes, Meshes and KubernetesClusters of an API server. An object that is gone is absent, as a
 * file is: that removes nothing. One with a deletionTimestamp is being removed on purpose.
 */
export class KubernetesSource {
  /** Set once all three kinds were listed whole, then on each change of what people write. */
  readonly intents = new Latest<SourcedIntent>();
  /** The VirtualMeshes with their status, by `refKey`. */
  readonly virtualMeshes: Latest<ReadonlyMap<string, KubeObject>>;
  readonly #options: KubernetesSourceOptions;
  readonly #reflectors: readonly Reflector[];
  readonly #dirty = new Latest<number>(0);
  #published = "";

  constructor(options: KubernetesSourceOptions) {
    this.#options = options;
    const { namespace, ...common } = options;
    const reflect = (type: ResourceDefinition): Reflector =>
      new Reflector({ ...common, type, ...(namespace === undefined ? {} : { namespace }) });
    const virtualMeshes = reflect(VIRTUAL_MESH);
    this.virtualMeshes = virtualMeshes.objects;
    this.#reflectors = [virtualMeshes, ...OTHERS.map(reflect)];
  }

  /** Follows until `signal` is aborted. An API server that is away is waited for; it is a fault of the snapshot. */
  async run(signal: AbortSignal): Promise<void> {
    const follow = (cell: Latest<unknown>) => async (stop: AbortSignal) => {
      for await (const _ of cell.watch(stop)) this.#dirty.set((this.#dirty.value ?? 0) + 1);
    };
    const tasks = this.#reflectors.flatMap((reflector, index) => [
      [`reflector ${index}`, (stop: AbortSignal) => reflector.run(stop)] as const,
      [`objects ${index}`, follow(reflector.objects)] as const,
      [`faults ${index}`, follow(reflector.fault)] as const,
    ]);
    await runTasks(signal, { ...Object.fromEntries(tasks), publish: (stop) => this.#publish(stop) });
  }

  async #publish(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    for await (const _ of this.#dirty.watch(signal)) {
      await clock.sleep(QUIET_MS, signal).catch(() => undefined);
      const known = this.#reflectors.map(({ objects }) => objects.value);
      if (known.includes(undefined)) continue;
      const snapshot = intentOfObjects(known.flatMap((objects) => [...(objects?.values() ?? [])]));
      const intent = { snapshot, faults: this.#faults() };
      // A status that was written here comes back as a change.
      const content = JSON.stringify(intent);
      if (content === this.#published) continue;
      this.#published = content;
      this.intents.set(intent);
    }
  }

  #faults(): SourceFault[] {
    const messages = this.#reflectors.flatMap(({ fault }) => fault.value?.message ?? []);
    return messages.map((message) => ({ file: "api server", message: `${message}; what was read last stands` }));
  }
}

/** The intent of objects of an API server. Those that do not fit their schema (of another version) are problems. */
export function intentOfObjects(objects: readonly KubeObject[]): IntentSnapshot {
  const resources: Resource[] = [];
  const problems: Problem[] = [];
  for (const object of objects) {
    const found = problemsOf(object);
    if (found.length === 0) resources.push(withoutStatus(object) as Resource);
    problems.push(...found);
  }
  return { ...byKind(resources), problems };
}

function problemsOf(object: KubeObject): Problem[] {
  const { apiVersion, kind, metadata } = object;
  const { namespace = "", name } = metadata;
  return checkSchema(definitionOf(apiVersion, kind), withoutStatus(object)).map(({ path, message }) => ({
    code: "resource_invalid",
    path: formatPath(path),
    message,
    // In the place of a file's name: logs and the list of problems show nothing else of where it is.
    file: `${kind} ${refKey(metadata)}`,
    resource: { kind, namespace, name },
  }));
}

/** What people wrote: the status is written here, and each write of it gives a new resourceVersion. */
function withoutStatus(object: KubeObject): object {
  const { resourceVersion: _version, ...metadata } = object.metadata;
  const { status: _status, ...rest } = object as KubeObject & { readonly status?: unknown };
  return { ...rest, metadata };
}

function definitionOf(apiVersion: string, kind: string): ResourceDefinition {
  const definition = findDefinition(apiVersion, kind);
  if (!definition) throw new MeshError("internal", `no schema of ${apiVersion} ${kind}`);
  return definition;
}
