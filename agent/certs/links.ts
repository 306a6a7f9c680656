import type { IssuedCertificateStatus, ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { assignOrder, type Assignment, type HeldCertificate, type OrderContext } from "./orders.ts";
import { acceptStatus, firstStatus, judgeByOrder, summarize } from "./replica-status.ts";
import type { PodIdentity } from "./token-reviewer.ts";

/** More pods than any cluster has istiods; beyond it the longest gone are forgotten, or newcomers refused. */
const MAX_REPLICAS = 256;
const SWEEP_INTERVAL_MS = 60_000;

export interface LinkBookOptions {
  /** What the relay holds in force. */
  readonly held: Latest<readonly HeldCertificate[]>;
  readonly context: OrderContext;
  /** A pod that is gone this long, and whose certificate has expired or never was, is forgotten. */
  readonly forgetAfterMs: number;
  readonly clock: Clock;
  /** What is known of a pod that has not linked here before: what it told another replica of the agent. */
  readonly recall?: (podUid: string) => ReplicaStatus | undefined;
}

/** A pod as the book has it. */
export interface BookEntry {
  /** The certificate whose order the pod has; undefined for a pod without one. */
  readonly held: HeldCertificate | undefined;
  readonly status: ReplicaStatus;
  /** The stream that is open now; another object for each stream. */
  readonly link: object | undefined;
}

interface Replica {
  readonly pod: PodIdentity;
  readonly status: ReplicaStatus;
  /** The stream that is open now. */
  readonly link: OpenLink | undefined;
  /** When the last stream ended, in milliseconds since the epoch; undefined while one is open. */
  readonly goneSinceMs: number | undefined;
}

/** One open stream of one pod. */
export interface Link {
  /** Keeps the pod's newest status. */
  report(status: ReplicaStatus): void;
  /** Takes the pod for gone. Again is harmless, also after the same pod has linked anew. */
  close(): void;
  /** Aborted when the pod has linked elsewhere, so that this stream must end. */
  readonly displaced: AbortSignal;
}

interface OpenLink extends Link {
  readonly displace: (reason: MeshError) => void;
}

/**
 * Which pods are linked, and what each said last. State is kept in memory alone: after a restart of the agent the pods
 * link again and tell it anew.
 */
export class LinkBook {
  /** Status of each certificate that is held, for the relay. Set on every change. */
  readonly statuses = new Latest<readonly IssuedCertificateStatus[]>([]);
  readonly #options: LinkBookOptions;
  readonly #replicas = new Map<string, Replica>();

  constructor(options: LinkBookOptions) {
    this.#options = options;
  }

  /** Opens the one link of a pod. Throws `conflict` while another is open, `resource_exhausted` for too many pods. */
  open(pod: PodIdentity): Link {
    const { podUid } = pod;
    const known = this.#replicas.get(podUid);
    if (known?.link) {
      throw new MeshError("conflict", `pod ${pod.podName} (${podUid}) is linked already`, {
        hint: "two istiod-agents use one identity; or the earlier one was cut off and is let go after some heartbeats",
        retriable: true,
      });
    }
    if (!known) this.#makeRoom();
    const ended = new AbortController();
    const link: OpenLink = {
      report: (told) => {
        if (this.#replicas.get(podUid)?.link === link) this.#put({ pod, link, status: acceptStatus(told, pod) });
      },
      displaced: ended.signal,
      displace: (reason) => ended.abort(reason),
      close: () => {
        const { status, link: current } = this.#replicas.get(podUid) ?? {};
        if (!status || current !== link) return;
        this.#put({ pod, status: { ...status, connected: false }, goneSinceMs: this.#options.clock.now() });
      },
    };
    const status = known?.status ?? this.#options.recall?.(podUid) ?? firstStatus(pod);
    this.#put({ pod, link, status: { ...status, connected: true } });
    return link;
  }

  /** Every pod that is known here, with what it told last. */
  entries(): readonly BookEntry[] {
    return [...this.#replicas.values()].map(({ pod, status, link }) => {
      const assignment = this.assignment(pod);
      if (assignment.kind === "none") return { held: undefined, status, link };
      return { held: assignment.held, status: judgeByOrder(status, assignment.order.version), link };
    });
  }

  /** Ends the link of a pod that is linked elsewhere by now, and forgets the pod. */
  displace(podUid: string, reason: MeshError): void {
    this.#replicas.get(podUid)?.link?.displace(reason);
    this.forget([podUid]);
  }

  /** Drops these pods: they are gone, or another replica speaks for them. */
  forget(podUids: Iterable<string>): void {
    let isChanged = false;
    for (const podUid of podUids) isChanged = this.#replicas.delete(podUid) || isChanged;
    if (isChanged) this.#publish();
  }

  /** What the pod shall have now. */
  assignment(pod: PodIdentity): Assignment {
    return assignOrder(this.#options.held.value ?? [], pod, this.#options.context);
  }

  /** What the pod shall have now, and then each change of what is held, until `signal` is aborted. */
  async *assignments(pod: PodIdentity, signal: AbortSignal): AsyncGenerator<Assignment, void, undefined> {
    if (this.#options.held.value === undefined) yield this.assignment(pod);
    for await (const held of this.#options.held.watch(signal)) yield assignOrder(held, pod, this.#options.context);
  }

  /** Every pod that is known: by certificate, and those without an order in a last entry that has no name. */
  list(): readonly IssuedCertificateStatus[] {
    const unassigned = this.#replicasOf(undefined);
    if (unassigned.length === 0) return this.#summaries();
    const nameless = { name: undefined, version: Buffer.alloc(0), detached: false };
    return [...this.#summaries(), summarize(nameless, unassigned)];
  }

  /** Follows what is held and forgets pods that are gone for good, until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#follow(signal), this.#sweep(signal)]);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const changes = this.#options.held.watch(signal);
    while ((await changes.next()).done !== true) this.#publish();
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#options.clock.sleep(SWEEP_INTERVAL_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      this.forgetGone();
    }
  }

  /** Drops the pods that are gone for good. */
  forgetGone(): void {
    const nowMs = this.#options.clock.now();
    const gone = [...this.#replicas.values()].filter(
      ({ status, goneSinceMs }) =>
        goneSinceMs !== undefined &&
        nowMs - goneSinceMs > this.#options.forgetAfterMs &&
        (status.notAfter?.getTime() ?? 0) < nowMs,
    );
    this.forget(gone.map(({ pod }) => pod.podUid));
  }

  #makeRoom(): void {
    if (this.#replicas.size < MAX_REPLICAS) return;
    const gone = [...this.#replicas.values()].filter(({ goneSinceMs }) => goneSinceMs !== undefined);
    const [longest] = gone.sort((a, b) => (a.goneSinceMs ?? 0) - (b.goneSinceMs ?? 0));
    if (!longest)
      throw new MeshError("resource_exhausted", `${MAX_REPLICAS} istiod pods are linked, the most there may be`);
    this.#replicas.delete(longest.pod.podUid);
  }

  #put(replica: Omit<Replica, "link" | "goneSinceMs"> & Partial<Pick<Replica, "link" | "goneSinceMs">>): void {
    this.#replicas.set(replica.pod.podUid, { link: undefined, goneSinceMs: undefined, ...replica });
    this.#publish();
  }

  #publish(): void {
    this.statuses.set(this.#summaries());
  }

  #summaries(): IssuedCertificateStatus[] {
    return (this.#options.held.value ?? []).map((held) =>
      summarize({ ...held, name: held.certificate.name }, this.#replicasOf(held)),
    );
  }

  #replicasOf(held: HeldCertificate | undefined): ReplicaStatus[] {
    return this.entries().flatMap((entry) => (entry.held === held ? [entry.status] : []));
  }
}
