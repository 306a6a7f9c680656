import { isDeepStrictEqual } from "node:util";
import { refKey } from "../../common/api/meta.ts";
import type { VirtualMeshStatus } from "../../common/api/virtual-mesh.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { PacedWork } from "../../common/runtime/paced-work.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import type { Judged } from "../intent/intent-leader.ts";
import { lackOf } from "../intent/mesh-checks.ts";
import type { AcceptedIntent } from "../intent/verdict.ts";
import type { StoredVirtualMesh, World } from "../store/world.ts";
import type { ClusterKnowledge } from "./facts.ts";
import { foldStatus } from "./fold.ts";
import { MeshReports } from "./mesh-reports.ts";
import type { CertificateReport } from "./report.ts";
import { StatusWriter } from "./status-writer.ts";

/** Changes this close together become one status. */
const QUIET_MS = 20;
/** Rest between two writes of one status. */
const SPACING_MS = 200;

export interface StatusLeaderOptions {
  readonly client: KubeClient;
  /** The server's own namespace. */
  readonly namespace: string;
  readonly judged: Latest<Judged>;
  /** Set when the record of a cluster, or its session at any replica, changed. */
  readonly clusterChanges: Latest<number>;
  readonly clusters: ClusterKnowledge;
  /** Called after a status was written. */
  readonly onWritten: (virtualMesh: StoredVirtualMesh, now: VirtualMeshStatus) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** A status with all that it was made of. */
interface Folded {
  readonly object: StoredVirtualMesh;
  readonly sources: readonly unknown[];
  readonly status: VirtualMeshStatus;
}

/**
 * The leader's work on status, for one term: folds the status of each VirtualMesh of the Meshes and the records of the
 * clusters, whoever wrote them, and writes it. What did not change is not folded again.
 */
export class StatusLeader {
  readonly #options: StatusLeaderOptions;
  readonly #reports: MeshReports;
  readonly #folded = new Map<string, Folded>();
  readonly #dirty = new Latest<number>(0);
  readonly #writer: StatusWriter;
  readonly #paced: PacedWork;

  constructor(options: StatusLeaderOptions) {
    this.#options = options;
    const { client, clusters, namespace, clock, random, log } = options;
    this.#reports = new MeshReports({ clusters, namespace });
    this.#writer = new StatusWriter({ client, manager: "enterprise-networking" });
    this.#paced = new PacedWork({
      work: (key, signal) => this.#write(key, signal),
      onFailure: (virtualMesh, err) => log.warn("status cannot be written", { virtualMesh, err }),
      spacingMs: SPACING_MS,
      clock,
      random,
    });
  }

  /** Leads until `signal` is aborted. To be called once. */
  async run(signal: AbortSignal): Promise<void> {
    const follow = (cell: Latest<unknown>) => async (stop: AbortSignal) => {
      for await (const _ of cell.watch(stop)) this.#dirty.set((this.#dirty.value ?? 0) + 1);
    };
    const { judged, clusterChanges } = this.#options;
    await runTasks(signal, {
      judged: follow(judged),
      clusters: follow(clusterChanges),
      fold: (stop) => this.#follow(stop),
      write: (stop) => this.#paced.run(stop),
    });
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { clock, judged } = this.#options;
    for await (const _ of this.#dirty.watch(signal)) {
      await clock.sleep(QUIET_MS, signal).catch(() => undefined);
      if (judged.value && !signal.aborted) this.#foldAll(judged.value);
    }
  }

  #foldAll(judged: Judged): void {
    const { stored } = judged.world;
    this.#reports.keepOnly(judged.judgement.owners);
    for (const key of this.#folded.keys()) if (!stored.has(key)) this.#folded.delete(key);
    for (const [key, object] of stored) {
      const before = this.#folded.get(key);
      const folded = this.#fold(key, object, judged);
      if (!folded) continue;
      this.#folded.set(key, folded);
      const isSame = before?.status === folded.status && before.object === object;
      if (!isSame && !isDeepStrictEqual(folded.status, object.status)) this.#paced.touch(key);
    }
  }

  #fold(key: string, object: StoredVirtualMesh, { world, judgement }: Judged): Folded | undefined {
    const before = this.#folded.get(key);
    const verdict = judgement.verdicts.get(key);
    const intent = judgement.inForce.get(key);
    if (!verdict || (intent && !isKept(intent, world))) return undefined;
    const reports = intent ? this.#reportsOf(intent, world) : [];
    const { uid } = object.metadata;
    const sources = [uid, verdict, intent, ...reports];
    if (before && isShallowEqual(before.sources, sources)) return { ...before, object };
    // Made anew, it has nothing to go on with.
    const previous = before?.object.metadata.uid === uid ? before?.status : object.status;
    const status = foldStatus({ verdict, intent, reports, previous }, this.#options.clock);
    return { object, sources, status: before && isDeepStrictEqual(before.status, status) ? before.status : status };
  }

  #reportsOf(intent: AcceptedIntent, world: World): CertificateReport[] {
    return Object.entries(intent.meshes)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, lastForm]) => {
        const current = world.meshes.get(key);
        return this.#reports.of(current && lackOf(current) === undefined ? current : lastForm, intent);
      });
  }

  async #write(key: string, signal: AbortSignal): Promise<void> {
    const { judged, onWritten } = this.#options;
    const object = judged.value?.world.stored.get(key);
    const folded = this.#folded.get(key);
    if (!object || !folded || folded.object.metadata.uid !== object.metadata.uid) return;
    const { status } = folded;
    if (isDeepStrictEqual(status, object.status)) return;
    if (await this.#writer.write(object, status, signal)) onWritten(object, status);
  }
}

/** What is told to be in force must outlive this process: it stands in every Mesh that there is. */
function isKept({ ref, generation, meshes }: AcceptedIntent, world: World): boolean {
  return Object.keys(meshes).every((key) => {
    const mesh = world.meshes.get(key);
    const applied = mesh?.status?.appliedVirtualMesh;
    return !mesh || (refKey(applied?.ref ?? {}) === refKey(ref) && applied?.observedGeneration === generation);
  });
}

const isShallowEqual = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((each, index) => each === b[index]);
