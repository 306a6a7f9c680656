import { isDeepStrictEqual } from "node:util";
import type { IssuedCertificateStatus, PodBounceStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import { Collection } from "../../common/kube/collection.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { runTasks, type Tasks } from "../../common/runtime/tasks.ts";
import { keyOf } from "../../common/session/resource-set.ts";
import type { HeldCertificate } from "../certs/orders.ts";
import type { Istiod } from "../discover/istiod-deployment.ts";
import type { Directive } from "./decide.ts";
import { type BounceReport, readDirective, reportOf, wireStatus } from "./directive.ts";
import { DIRECTIVES, KubeDirectiveStore } from "./directive-store.ts";
import { type Look, MeshRestarts, type Pace } from "./mesh-restarts.ts";
import { type NamespaceRoot, readNamespaceRoot, ROOT_CONFIG_MAP } from "./namespace-root.ts";
import { KubePodAccess } from "./pod-access.ts";

export interface PodBouncerOptions {
  readonly client: KubeClient;
  /** The agent's own, where the directives are. */
  readonly namespace: string;
  /** The certificates in force. Unset until they are known. */
  readonly certificates: Latest<readonly HeldCertificate[]>;
  /** What all their istiods say, whichever replica of the agent they are linked to. */
  readonly certificateStatuses: Latest<readonly IssuedCertificateStatus[]>;
  /** As `Discoverer` finds them. */
  readonly istiods: Latest<readonly Istiod[]>;
  /**
   * Where it tells how far each restart is, by `keyOf` the certificate's name; nothing where none is or was asked for.
   */
  readonly bounces: Latest<ReadonlyMap<string, PodBounceStatus>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Milliseconds until the next look. While nothing is restarted a change brings it on. */
const PACES: Readonly<Record<Pace, number>> = { working: 2_000, fault: 15_000, idle: 60_000 };
/** Changes this close together are looked at once. */
const QUIET_MS = 500;

const CONFIG_MAPS = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps" };

/**
 * Restarts the pods of meshes whose root changed, or when somebody asks for it. One of them may run in a cluster at a time:
 * it is the work of the Lease holder. What it has begun another one takes up, for all that matters stands in the pods, in
 * the ConfigMaps and in the PodBounceDirectives.
 */
export class PodBouncer {
  readonly #options: PodBouncerOptions;
  readonly #roots: Collection<NamespaceRoot>;
  readonly #directives: Collection<Directive>;

  constructor(options: PodBouncerOptions) {
    this.#options = options;
    const { client, clock, random, log, namespace } = options;
    const common = { client, clock, random, log };
    const fieldSelector = `metadata.name=${ROOT_CONFIG_MAP}`;
    this.#roots = new Collection({ ...common, type: CONFIG_MAPS, fieldSelector, read: readNamespaceRoot });
    this.#directives = new Collection({ ...common, type: DIRECTIVES, namespace, read: readDirective });
  }

  /** Works until `signal` is aborted. Every fault is told in the status and waited out. May run again after that. */
  async run(signal: AbortSignal): Promise<void> {
    await runTasks(signal, {
      roots: (stop) => this.#roots.run(stop),
      directives: (stop) => this.#directives.run(stop),
      restarts: (stop) => this.#work(stop),
    });
  }

  async #work(signal: AbortSignal): Promise<void> {
    const { client, namespace, clock, log, certificates, certificateStatuses, istiods } = this.#options;
    const [access, store] = [new KubePodAccess(client), new KubeDirectiveStore(client, clock)];
    const restarts = new MeshRestarts({ namespace, access, store, clock, log });
    const cells = [certificates, certificateStatuses, istiods, this.#roots.changes, this.#directives.changes];
    const changes = Latest.changes(cells, signal);
    let change = changes.next();
    while (!signal.aborted) {
      const { reports, pace } = await this.#look(restarts, signal);
      this.#publish(reports);
      const isChanged = await this.#pause(pace, change, signal);
      if (isChanged) change = changes.next();
    }
  }

  async #look(restarts: MeshRestarts, signal: AbortSignal): Promise<Look> {
    const held = this.#options.certificates.value;
    const istiods = this.#options.istiods.value;
    const statuses = this.#options.certificateStatuses.value ?? [];
    const directives = this.#directives.values;
    const roots = this.#roots.values;
    if (!held || !istiods || !directives || !roots) return { reports: this.#unsynced(held ?? []), pace: "working" };
    const byNamespace = new Map(roots.map((root) => [root.namespace, root]));
    return restarts.look({ held, statuses, directives, roots: byNamespace, istiods }, signal);
  }

  #unsynced(held: readonly HeldCertificate[]): ReadonlyMap<string, BounceReport> {
    const fault = this.#roots.fault.value ?? this.#directives.fault.value;
    const message = fault?.message ?? "waits until the agent has read its cluster";
    const state = fault?.code === "permission_denied" ? "FAILED" : "PENDING";
    const report: BounceReport = { ...reportOf(undefined), state, message };
    const asking = held.filter(({ certificate, detached }) => certificate.autoRestartPods && !detached);
    return new Map(asking.flatMap(({ certificate: { name } }) => (name ? [[keyOf(name), report]] : [])));
  }

  /**
   * Waits for the next look; true when a change has brought it on. While something is restarted its own writes are changes,
   * too: then time alone counts.
   */
  async #pause(pace: Pace, change: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options;
    const done = new AbortController();
    const slept = clock.sleep(PACES[pace], AbortSignal.any([signal, done.signal])).then(
      () => false,
      () => false,
    );
    const isChanged = await (pace === "idle" ? Promise.race([slept, change.then(() => true)]) : slept);
    done.abort();
    if (isChanged) await clock.sleep(QUIET_MS, signal).catch(() => undefined);
    return isChanged;
  }

  #publish(reports: ReadonlyMap<string, BounceReport>): void {
    const statuses = new Map(Array.from(reports, ([key, report]) => [key, wireStatus(report)]));
    const { bounces } = this.#options;
    if (!isDeepStrictEqual(bounces.value, statuses)) bounces.set(statuses);
  }
}

/** A bouncer as the work of a leader. */
export function restartTasks(options: PodBouncerOptions): Tasks {
  return { "restarts of pods": (stop) => new PodBouncer(options).run(stop) };
}
