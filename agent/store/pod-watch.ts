import { Collection } from "../../common/kube/collection.ts";
import type { KubeObject, ResourceType } from "../../common/kube/resource-type.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { runTasks, type Task } from "../../common/runtime/tasks.ts";
import type { KubernetesContext } from "./kubernetes-context.ts";

const PODS: ResourceType = { apiVersion: "v1", kind: "Pod", plural: "pods" };

interface PodFacts {
  readonly name: string;
  readonly uid: string;
}

/** Pods whose containers have ended for good stay as objects: an evicted one is gone for us. */
function readPod(object: KubeObject): PodFacts | undefined {
  const { metadata, status } = object as KubeObject & { readonly status?: { readonly phase?: string } };
  if (status?.phase === "Succeeded" || status?.phase === "Failed") return undefined;
  return { name: metadata.name, uid: metadata.uid ?? "" };
}

/** Knows which pods there are in those namespaces that matter. */
export class PodWatch {
  /** Set on each change. */
  readonly changes = new Latest(0);
  readonly #pods: ReadonlyMap<string, Collection<PodFacts>>;

  constructor({ client, clock, random, log }: KubernetesContext, namespaces: Iterable<string>) {
    const follow = (namespace: string): Collection<PodFacts> =>
      new Collection({ client, namespace, type: PODS, read: readPod, clock, random, log });
    this.#pods = new Map([...new Set(namespaces)].map((namespace) => [namespace, follow(namespace)]));
  }

  /** Follows the pods until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const cells = [...this.#pods.values()].flatMap(({ changes, fault }) => [changes, fault]);
    const touch: Task = async (stop) => {
      for await (const _ of Latest.changes(cells, stop)) this.changes.set((this.changes.value ?? 0) + 1);
    };
    const tasks = [...this.#pods].map(([namespace, pods]): [string, Task] => [
      `pods of ${namespace}`,
      (stop) => pods.run(stop),
    ]);
    await runTasks(signal, { ...Object.fromEntries(tasks), changes: touch });
  }

  /** True when there surely is no such pod any more; false while there is, and while that cannot be told. */
  isGone(namespace: string, uid: string): boolean {
    const pods = this.#known(namespace);
    return pods !== undefined && !pods.some((pod) => pod.uid === uid);
  }

  /** True when there surely is no pod of that name. */
  isNameGone(namespace: string, name: string): boolean {
    const pods = this.#known(namespace);
    return pods !== undefined && !pods.some((pod) => pod.name === name);
  }

  /** True when there surely is a pod of that name. */
  hasName(namespace: string, name: string): boolean {
    return this.#known(namespace)?.some((pod) => pod.name === name) ?? false;
  }

  /** undefined while the copy may be outdated. */
  #known(namespace: string): readonly PodFacts[] | undefined {
    const pods = this.#pods.get(namespace);
    return pods?.fault.value ? undefined : pods?.values;
  }
}
