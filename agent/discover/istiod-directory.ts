import type { KubeClient } from "../../common/kube/client.ts";
import { readObject } from "../../common/kube/objects.ts";
import type { KubeObject, ResourceType } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import type { Istiod } from "./istiod-deployment.ts";

/** A pod as its token names it. */
export interface PodRef {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface IstiodDirectoryOptions {
  readonly client: Pick<KubeClient, "call">;
  /** As `Discoverer` finds them. */
  readonly istiods: Latest<readonly Istiod[]>;
}

interface Owner {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly name?: string;
  readonly uid?: string;
  readonly controller?: boolean;
}

const PODS: ResourceType = { apiVersion: "v1", kind: "Pod", plural: "pods" };
const REPLICA_SETS: ResourceType = { apiVersion: "apps/v1", kind: "ReplicaSet", plural: "replicasets" };

/** Tells which istiod a pod is of. Pods are read one at a time, when one asks: they are not watched. */
export class IstiodDirectory {
  readonly #options: IstiodDirectoryOptions;

  constructor(options: IstiodDirectoryOptions) {
    this.#options = options;
  }

  /**
   * The istiod whose pod this is: of the same uid, controlled by a ReplicaSet that is controlled by its Deployment. Throws
   * `permission_denied` for a pod of anything else, and `unavailable` while it cannot be told.
   */
  async istiodOf(pod: PodRef, signal: AbortSignal): Promise<Istiod> {
    const istiods = this.#options.istiods.value;
    if (!istiods) throw new MeshError("unavailable", "the agent has not listed the istiods of its cluster yet");
    const what = `pod ${pod.namespace}/${pod.name}`;
    const found = await this.#read(PODS, pod, signal);
    if (!found) throw denied(`${what} does not exist`);
    if (found.metadata.uid !== pod.uid) {
      throw denied(`${what} has uid ${found.metadata.uid ?? "none"}, the token is of uid ${pod.uid}`);
    }
    const owner = controllerOf(found);
    if (owner?.kind !== REPLICA_SETS.kind || owner.apiVersion !== REPLICA_SETS.apiVersion || !owner.name) {
      throw denied(`${what} is not of a ReplicaSet but of ${describeOwner(owner)}`);
    }
    const replicaSet = await this.#read(REPLICA_SETS, { namespace: pod.namespace, name: owner.name }, signal);
    const ownsPod = replicaSet && replicaSet.metadata.uid === owner.uid;
    const deployment = ownsPod ? controllerOf(replicaSet) : undefined;
    const istiod = istiods.find(({ uid }) => uid !== "" && uid === deployment?.uid);
    if (!istiod) throw denied(`${what} is of ${describeOwner(deployment)}, which is not a discovered istiod`);
    return istiod;
  }

  /** undefined for an object that is not there. */
  async #read(type: ResourceType, { namespace, name }: Omit<PodRef, "uid">, signal: AbortSignal) {
    try {
      return await readObject(this.#options.client, type, { namespace, name }, signal);
    } catch (thrown) {
      const error = MeshError.from(thrown);
      if (error.code !== "permission_denied" && error.code !== "unauthenticated") throw error;
      // It is the agent that lacks a right, not the pod that asks.
      const hint = error.hint === undefined ? {} : { hint: error.hint };
      throw new MeshError("unavailable", error.message, { cause: error, ...hint });
    }
  }
}

const denied = (message: string): MeshError =>
  new MeshError("permission_denied", message, {
    hint: "only pods of an istiod Deployment get a certificate; the agent's log says which Deployments it left out",
  });

function controllerOf({ metadata }: KubeObject): Owner | undefined {
  const { ownerReferences = [] } = metadata as { readonly ownerReferences?: readonly Owner[] };
  return ownerReferences.find(({ controller }) => controller === true);
}

const describeOwner = (owner: Owner | undefined): string =>
  owner ? `${owner.kind ?? "?"} ${owner.name ?? "?"}` : "no controller";
