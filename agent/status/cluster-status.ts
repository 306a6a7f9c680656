import type { IssuedCertificate } from "../../common/api/certificates.ts";
import { fromReplica } from "../../common/api/replica.ts";
import type { EventRecorder } from "../../common/kube/events.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import type { IssuedCertificateStatus, ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { LinkBook } from "../certs/links.ts";
import type { OrderContext } from "../certs/orders.ts";
import { summarize } from "../certs/replica-status.ts";
import { isOurs, readCertificate, type StoredCertificate } from "../store/certificate-object.ts";
import type { ClusterStatus } from "../store/home.ts";
import type { CertificateObjects, KubernetesContext } from "../store/kubernetes-context.ts";
import type { Leadership } from "../store/leadership.ts";
import type { PodWatch } from "../store/pod-watch.ts";
import { replicaStatuses, type StatusView } from "./entries.ts";
import { HappeningsSince } from "./happenings.ts";
import { StatusWriter } from "./status-writer.ts";

export interface SharedStatusOptions {
  readonly context: KubernetesContext;
  readonly objects: CertificateObjects;
  readonly pods: PodWatch;
  readonly leadership: Leadership;
  readonly orders: OrderContext;
  readonly isReplicaGone: (replica: string) => boolean;
  readonly events: EventRecorder;
}

/** What a pod told any replica of the agent last. */
export function recallFrom(objects: CertificateObjects, podUid: string): ReplicaStatus | undefined {
  for (const object of objects.value?.values() ?? []) {
    const entry = (object as IssuedCertificate).status?.replicas?.find((each) => each.podUid === podUid);
    if (entry) return fromReplica(entry);
  }
  return undefined;
}

/** Status that the replicas of the agent share by the objects: each writes what its own pods say, and reads all. */
export class SharedStatus implements ClusterStatus {
  readonly statuses = new Latest<readonly IssuedCertificateStatus[]>([]);
  readonly #options: SharedStatusOptions;
  readonly #book: LinkBook;
  readonly #writer: StatusWriter;
  /** Pods whose entry was seen to name this replica, with the stream of that time. */
  readonly #claimed = new Map<string, object>();

  constructor(options: SharedStatusOptions, book: LinkBook) {
    this.#options = options;
    this.#book = book;
    const { context, objects, pods, leadership } = options;
    this.#writer = new StatusWriter({
      ...{ context, objects, causes: [book.statuses, pods.changes, leadership.leading] },
      prepare: (copies) => this.#prepare(copies),
      viewOf: (stored) => this.#viewOf(stored),
    });
  }

  get tasks(): ClusterStatus["tasks"] {
    const { events } = this.#options;
    return {
      status: (signal) =>
        runTasks(signal, {
          follow: (stop) => this.#follow(stop),
          write: (stop) => this.#writer.run(stop),
          tell: (stop) => this.#tell(stop),
          events: (stop) => events.run(stop),
        }),
    };
  }

  readonly list = (): readonly IssuedCertificateStatus[] => {
    const statuses = this.statuses.value ?? [];
    const unassigned = this.#book.entries().flatMap(({ held, status }) => (held ? [] : [status]));
    if (unassigned.length === 0) return statuses;
    return [...statuses, summarize({ name: undefined, version: Buffer.alloc(0), detached: false }, unassigned)];
  };

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const objects of this.#options.objects.watch(signal)) {
      const ours = [...objects.values()].filter((object) => isOurs(object, this.#options.context.owner));
      this.statuses.set(ours.flatMap((object) => this.#statusOf(object as IssuedCertificate) ?? []));
    }
  }

  /** Every replica looks, so that whoever leads next knows what has been told. */
  async #tell(signal: AbortSignal): Promise<void> {
    const { objects, context, leadership, events } = this.#options;
    const since = new HappeningsSince();
    for await (const now of objects.watch(signal)) {
      const told = since.next(now).filter(({ object }) => isOurs(object, context.owner));
      if (!leadership.leading.value) continue;
      for (const { object: regarding, happening } of told) events.record({ regarding, ...happening });
    }
  }

  #statusOf(object: IssuedCertificate): IssuedCertificateStatus | undefined {
    const stored = readCertificate(object);
    if (!stored) return undefined;
    const { resource, heldAs } = stored;
    const replicas = replicaStatuses(object.status?.replicas ?? [], stored, this.#options.orders);
    const version = Buffer.from(resource.version, "hex");
    return summarize({ name: resource.name, version, detached: heldAs !== "managed" }, replicas);
  }

  /** Lets go of pods that are gone, or that another replica speaks for. */
  #prepare(objects: ReadonlyMap<string, KubeObject>): void {
    const { pods } = this.#options;
    this.#yield(objects);
    const gone = this.#book.entries().filter(({ link, status: { podNamespace, podUid } }) => {
      return link === undefined && pods.isGone(podNamespace, podUid);
    });
    this.#book.forget(gone.map(({ status }) => status.podUid));
  }

  /**
   * A pod that was seen to be ours and is another replica's now has linked there, since this one did not answer in time:
   * its stream here must end, else both would write its entry in turn.
   */
  #yield(objects: ReadonlyMap<string, KubeObject>): void {
    const { replica, log } = this.#options.context;
    const entries = [...objects.values()].flatMap((object) => (object as IssuedCertificate).status?.replicas ?? []);
    const links = new Map(this.#book.entries().flatMap(({ link, status }) => (link ? [[status.podUid, link]] : [])));
    for (const { podUid, connected, agent } of entries) {
      const link = links.get(podUid);
      if (!link || connected !== true || agent === undefined) continue;
      if (agent === replica) this.#claimed.set(podUid, link);
      else if (this.#claimed.get(podUid) === link) {
        log.warn("a pod has linked at another replica of the agent; ending its link here", { uid: podUid, agent });
        this.#book.displace(podUid, new MeshError("conflict", `the pod is linked at replica ${agent} by now`));
      }
    }
    for (const podUid of this.#claimed.keys()) if (!links.has(podUid)) this.#claimed.delete(podUid);
  }

  #viewOf({ resource }: StoredCertificate): StatusView {
    const { context, pods, leadership, orders, isReplicaGone } = this.#options;
    const mine = this.#book.entries().flatMap(({ held, status }) => {
      const name = held?.certificate.name;
      const isOfThis = name?.name === resource.name.name && name.namespace === resource.name.namespace;
      return isOfThis ? [[status.podUid, status] as const] : [];
    });
    return {
      ...{ replica: context.replica, leading: leadership.leading.value ?? false, mine: new Map(mine) },
      isPodGone: (namespace, uid) => pods.isGone(namespace, uid),
      ...{ isReplicaGone, orders, nowMs: context.clock.now() },
    };
  }
}
