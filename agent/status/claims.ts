import type { IssuedCertificate, IssuedCertificateEntry } from "../../common/api/certificates.ts";
import { replaceObject } from "../../common/kube/objects.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { PodIdentity } from "../certs/token-reviewer.ts";
import { isOurs, ISSUED_CERTIFICATES } from "../store/certificate-object.ts";
import { type CertificateObjects, type KubernetesContext, replicaManager } from "../store/kubernetes-context.ts";

/** A pod moves from one replica to another in good order: the former one takes this long to say that it left. */
const HANDOVER_MS = 500;
/** A replica that lives answers a challenge within the time of a watch and a write. */
const ANSWER_MS = 5_000;
const ATTEMPTS = 5;

export interface ClaimsOptions {
  readonly context: KubernetesContext;
  readonly objects: CertificateObjects;
  readonly isReplicaGone: (replica: string) => boolean;
}

interface Found {
  readonly object: IssuedCertificate;
  readonly entry: IssuedCertificateEntry;
}

/**
 * Makes sure that a pod is linked once in the cluster. The entry of a pod names the replica that holds its stream. To know
 * whether that one lives, this replica puts its own name beside: whoever holds the stream takes it away at once, since
 * it keeps its entries as they shall be. Who does not answer is dead or cut off, and the pod must not wait for him.
 */
export class Claims {
  readonly #options: ClaimsOptions;

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Returns when no other replica holds a link of the pod. Throws `conflict` where one does. */
  async claim(pod: PodIdentity, signal: AbortSignal): Promise<void> {
    if (await this.#isFreeWithin(HANDOVER_MS, pod, signal)) return;
    let replaced = await this.#challenge(pod, signal);
    for (let attempt = 1; replaced === undefined; attempt++) {
      if (attempt >= ATTEMPTS) throw new MeshError("unavailable", `pod ${pod.podName}: its entry changes all the time`);
      if (await this.#isFreeWithin(HANDOVER_MS, pod, signal)) return;
      replaced = await this.#challenge(pod, signal);
    }
    const { context } = this.#options;
    const answered = await this.#until(ANSWER_MS, signal, () => {
      const found = this.#find(pod.podUid);
      // The copy lags: what the challenge has replaced says nothing of an answer to it.
      if (found?.object.metadata.resourceVersion === replaced) return false;
      return !this.#isHeldElsewhere(found) || found?.entry.challengedBy !== context.replica;
    });
    const found = this.#find(pod.podUid);
    if (!this.#isHeldElsewhere(found)) return;
    const agent = found?.entry.agent;
    if (answered) {
      throw new MeshError("conflict", `pod ${pod.podName} (${pod.podUid}) is linked already, at replica ${agent}`, {
        hint: "two istiod-agents use one identity",
        retriable: true,
      });
    }
    context.log.warn("a replica of the agent does not answer; taking its link over", { pod: pod.podName, agent });
  }

  #isFreeWithin(ms: number, pod: PodIdentity, signal: AbortSignal): Promise<boolean> {
    return this.#until(ms, signal, () => !this.#isHeldElsewhere(this.#find(pod.podUid)));
  }

  /** Writes this replica's name into the entry: the version that it replaced; undefined when there was a newer one. */
  async #challenge({ podUid }: PodIdentity, signal: AbortSignal): Promise<string | undefined> {
    const { client, replica } = this.#options.context;
    const { object, entry } = this.#find(podUid) ?? {};
    if (!object || !entry) return undefined;
    const replicas = object.status?.replicas?.map((each) =>
      each.podUid === podUid ? { ...each, challengedBy: replica } : each,
    );
    const writing = {
      type: ISSUED_CERTIFICATES,
      object: { ...object, status: { ...object.status, replicas } },
      subresource: "status",
      fieldManager: replicaManager(replica),
    } as const;
    try {
      await replaceObject(client, writing, signal);
      return object.metadata.resourceVersion;
    } catch (thrown) {
      const error = MeshError.from(thrown);
      if (error.code === "conflict" || error.code === "not_found") return undefined;
      throw new MeshError("unavailable", `it cannot be told whether the pod is linked elsewhere: ${error.message}`, {
        cause: error,
      });
    }
  }

  /** Waits until `accept` is true of the objects; false when that did not come in time. */
  async #until(ms: number, signal: AbortSignal, accept: () => boolean): Promise<boolean> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const late = this.#options.context.clock.sleep(ms, either).then(
      () => stop.abort(),
      () => undefined,
    );
    try {
      if (accept()) return true;
      for await (const _ of this.#options.objects.watch(either)) if (accept()) return true;
      signal.throwIfAborted();
      return false;
    } finally {
      stop.abort();
      await late;
    }
  }

  #isHeldElsewhere(found: Found | undefined): boolean {
    const { context, isReplicaGone } = this.#options;
    if (found?.entry.connected !== true) return false;
    const { agent } = found.entry;
    return agent !== undefined && agent !== context.replica && !isReplicaGone(agent);
  }

  #find(podUid: string): Found | undefined {
    const { objects, context } = this.#options;
    const ours = [...(objects.value?.values() ?? [])].filter((object) => isOurs(object, context.owner));
    return ours.flatMap((object) => foundIn(object, podUid) ?? [])[0];
  }
}

function foundIn(object: KubeObject, podUid: string): Found | undefined {
  const certificate = object as IssuedCertificate;
  const entry = certificate.status?.replicas?.find((each) => each.podUid === podUid);
  return entry && { object: certificate, entry };
}
