import * as z from "zod";
import { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { VirtualMeshStatus as WireStatus } from "../../proto/gen/admin/v1/admin.ts";
import { refKey } from "../../common/api/meta.ts";
import type { VirtualMeshStatus } from "../../common/api/virtual-mesh.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { StateDirectory, StateDocument } from "../../common/runtime/state-directory.ts";
import { keyOf } from "../../common/session/resource-set.ts";
import type { MeshesStatus } from "../admin/services.ts";
import { clusterOf } from "../intent/mesh-checks.ts";
import type { Reconciled } from "../intent/reconciler.ts";
import type { AcceptedIntent } from "../intent/verdict.ts";
import type { Agents } from "../relay/agents.ts";
import type { IntentBook } from "../relay/intent-book.ts";
import type { StatusBook } from "../relay/status-book.ts";
import { certificateName } from "../translate/translate.ts";
import { type FactSource, localFacts, reportOf } from "./facts.ts";
import { foldStatus } from "./fold.ts";
import type { CertificateReport } from "./report.ts";
import { describeProblems, rowsOf } from "./served.ts";

/** Changes this close together become one status. */
const QUIET_MS = 50;

const storedSchema = z.object({
  /** Status by VirtualMesh: it carries the pinned root and the times of the conditions. */
  virtualMeshes: z.record(
    z.string(),
    z.custom<VirtualMeshStatus>((value) => typeof value === "object" && value !== null),
  ),
  /** What each cluster reported last, encoded, base64. */
  reports: z.record(z.string(), z.array(z.base64())),
});

/** What the status says of the sessions. */
export type SessionFacts = Pick<Agents, "isConnected" | "acknowledged" | "rejection">;

export interface StatusRoomOptions {
  readonly directory: Pick<StateDirectory, "document">;
  readonly intents: IntentBook;
  readonly reports: StatusBook;
  /** Whether the cluster's identity was taken away. */
  readonly isRevoked: (cluster: string) => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** Folds verdicts, acknowledgements and reports into the status of each VirtualMesh, and keeps it over restarts. */
export class StatusRoom {
  readonly statuses = new Latest<MeshesStatus>();
  readonly #options: StatusRoomOptions;
  readonly #document: StateDocument<z.output<typeof storedSchema>>;
  readonly #dirty = new Latest<number>(0);
  #previous: Record<string, VirtualMeshStatus>;

  private constructor(
    options: StatusRoomOptions,
    document: StateDocument<z.output<typeof storedSchema>>,
    previous: Record<string, VirtualMeshStatus>,
  ) {
    this.#options = options;
    this.#document = document;
    this.#previous = previous;
    options.reports.onChange(() => this.touch());
  }

  /** Loads what was written last. Throws `state_corrupt`. */
  static async open(options: StatusRoomOptions): Promise<StatusRoom> {
    const document = options.directory.document("status", storedSchema);
    const stored = await document.read();
    for (const [cluster, reports] of Object.entries(stored?.reports ?? {})) {
      const certificates = reports.map((text) => IssuedCertificateStatus.decode(Buffer.from(text, "base64")));
      options.reports.take(cluster, { certificates, removals: [], whole: true });
    }
    return new StatusRoom(options, document, stored?.virtualMeshes ?? {});
  }

  /** To be called when anything changed that a status is made of. */
  touch(): void {
    this.#dirty.set((this.#dirty.value ?? 0) + 1);
  }

  /** Folds after each change until `signal` is aborted. */
  async run(reconciled: Latest<Reconciled>, hub: SessionFacts, signal: AbortSignal): Promise<void> {
    const { isRevoked, reports } = this.#options;
    const facts = localFacts({
      isRevoked,
      isConnected: (cluster) => hub.isConnected(cluster),
      acknowledged: (cluster, key) => hub.acknowledged(cluster, key),
      rejection: (cluster, key) => hub.rejection(cluster, key),
      reports: (cluster) => reports.get(cluster),
    });
    await Promise.all([this.#follow(reconciled, signal), this.#fold(reconciled, facts, signal)]);
  }

  async #follow(reconciled: Latest<Reconciled>, signal: AbortSignal): Promise<void> {
    for await (const _ of reconciled.watch(signal)) this.touch();
  }

  async #fold(reconciled: Latest<Reconciled>, facts: FactSource, signal: AbortSignal): Promise<void> {
    for await (const _ of this.#dirty.watch(signal)) {
      await this.#options.clock.sleep(QUIET_MS, signal).catch(() => undefined);
      if (reconciled.value) await this.#publish(reconciled.value, facts);
    }
  }

  async #publish({ verdicts, inForce, problems, faults }: Reconciled, facts: FactSource): Promise<void> {
    const next: Record<string, VirtualMeshStatus> = {};
    const virtualMeshes: WireStatus[] = [];
    for (const [key, verdict] of [...verdicts].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const intent = inForce.get(key);
      const reports = this.#reportsOf(intent, facts);
      const status = foldStatus({ verdict, intent, reports, previous: this.#previous[key] }, this.#options.clock);
      next[key] = status;
      virtualMeshes.push({
        name: verdict.ref,
        // Through JSON: the wire's Struct has no place for undefined.
        status: JSON.parse(JSON.stringify(status)) as Record<string, unknown>,
        clusters: rowsOf(reports),
      });
    }
    this.#previous = next;
    this.statuses.set({ virtualMeshes, sourceProblems: describeProblems(problems, faults) });
    // A full disk must not end the sessions: what is shown stays right, and the next change tries again.
    await this.#save(inForce).catch((error: unknown) => {
      this.#options.log.error("the status cannot be stored", { err: error });
    });
  }

  #reportsOf(intent: AcceptedIntent | undefined, facts: FactSource): CertificateReport[] {
    const meshes = Object.values(intent?.meshes ?? {}).sort((a, b) =>
      refKey(a.metadata) < refKey(b.metadata) ? -1 : 1,
    );
    return meshes.map((mesh) => {
      const wanted = this.#options.intents.get(clusterOf(mesh)).resources.get(keyOf(certificateName(mesh)))?.version;
      return reportOf(mesh, wanted, facts(mesh, wanted));
    });
  }

  async #save(inForce: ReadonlyMap<string, AcceptedIntent>): Promise<void> {
    const clusters = new Set([...inForce.values()].flatMap(({ meshes }) => Object.values(meshes).map(clusterOf)));
    const encode = (status: IssuedCertificateStatus): string =>
      Buffer.from(IssuedCertificateStatus.encode(status).finish()).toString("base64");
    const reports = [...clusters].map((cluster) => [cluster, this.#options.reports.get(cluster).map(encode)] as const);
    await this.#document.write({ virtualMeshes: this.#previous, reports: Object.fromEntries(reports) });
  }
}
