import type { Mesh, MeshCertificateStatus } from "../../common/api/discovery.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { PacedWork } from "../../common/runtime/paced-work.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import { keyOf } from "../../common/session/resource-set.ts";
import { clusterOf } from "../intent/mesh-checks.ts";
import type { Agents } from "../relay/agents.ts";
import type { LiveSession } from "../relay/session.ts";
import type { StatusBook } from "../relay/status-book.ts";
import type { World } from "../store/world.ts";
import type { MeshTranslator } from "../translate/mesh-translator.ts";
import { certificateName } from "../translate/translate.ts";
import { StatusWriter } from "./status-writer.ts";
import { nextSessionPart } from "./session-part.ts";

/** Rest between two writes of one Mesh: what is reported meanwhile is written in one. */
const SPACING_MS = 200;

export interface SessionRoomOptions {
  readonly client: KubeClient;
  /** Worlds that the translator has taken. */
  readonly worlds: Latest<World>;
  readonly translator: Pick<MeshTranslator, "meshesOf" | "acknowledgedRemoval">;
  readonly reports: StatusBook;
  readonly agents: Pick<Agents, "live">;
  /** Epoch of the session that this replica holds with the cluster, while no newer one is known; undefined without. */
  readonly epochOf: (cluster: string) => bigint | undefined;
  /** Called after what an agent said was written into a Mesh. */
  readonly onWritten: (mesh: Mesh, now: MeshCertificateStatus | undefined) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Writes what the agents with a session here say into the Meshes of their clusters, for all replicas to read. */
export class SessionRoom {
  readonly #options: SessionRoomOptions;
  readonly #writer: StatusWriter;
  readonly #paced: PacedWork;
  /** How many whole reports there were when the session began, by cluster: what was told before is another session's. */
  readonly #begun = new Map<string, { readonly epoch: bigint; readonly wholes: number }>();

  constructor(options: SessionRoomOptions) {
    this.#options = options;
    const { client, reports, clock, random, log } = options;
    this.#writer = new StatusWriter({ client, manager: "enterprise-networking-session", asRead: true });
    this.#paced = new PacedWork({
      work: (key, signal) => this.#write(key, signal),
      onFailure: (mesh, err) => log.warn("what an agent said cannot be written", { mesh, err }),
      spacingMs: SPACING_MS,
      clock,
      random,
    });
    reports.onChange((cluster) => this.#touch(cluster));
  }

  /** To be called when a session of this replica began or ended, or acknowledged something. */
  sessionChanged(cluster: string): void {
    const live = this.#options.agents.live(cluster);
    if (!live) this.#begun.delete(cluster);
    else if (this.#begun.get(cluster)?.epoch !== live.epoch) {
      this.#begun.set(cluster, { epoch: live.epoch, wholes: this.#options.reports.wholes(cluster) });
    }
    this.#touch(cluster);
  }

  /** Writes until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    await runTasks(signal, { follow: (stop) => this.#follow(stop), write: (stop) => this.#paced.run(stop) });
  }

  #touch(cluster: string): void {
    for (const key of this.#options.translator.meshesOf(cluster)) this.#paced.touch(key);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    let before: World["meshes"] = new Map();
    for await (const { meshes } of this.#options.worlds.watch(signal)) {
      for (const [key, mesh] of meshes) {
        if (before.get(key) !== mesh && this.#options.agents.live(clusterOf(mesh))) this.#paced.touch(key);
      }
      before = meshes;
    }
  }

  async #write(meshKey: string, signal: AbortSignal): Promise<void> {
    const { worlds, agents, epochOf, onWritten } = this.#options;
    const mesh = worlds.value?.meshes.get(meshKey);
    const cluster = mesh && clusterOf(mesh);
    const live = cluster === undefined ? undefined : agents.live(cluster);
    if (!mesh || cluster === undefined || !live || epochOf(cluster) !== live.epoch) return;
    const part = this.#partOf(mesh, meshKey, live);
    if (part === mesh.status?.issuedCertificate) return;
    const isWritten = await this.#writer.write(mesh, part ? { issuedCertificate: part } : {}, signal);
    if (isWritten) onWritten(mesh, part);
  }

  #partOf(mesh: Mesh, meshKey: string, { epoch, held, parked }: LiveSession): MeshCertificateStatus | undefined {
    const { reports, translator } = this.#options;
    const cluster = clusterOf(mesh);
    const key = keyOf(certificateName(mesh));
    const refused = parked.get(key);
    const begun = this.#begun.get(cluster);
    const hasTold = begun?.epoch === epoch && reports.wholes(cluster) > begun.wholes;
    const report = reports.get(cluster).find(({ name }) => name && keyOf(name) === key);
    return nextSessionPart(mesh, {
      epoch: Number(epoch),
      held: held && { version: held.get(key) },
      refused: refused && { version: refused.version, message: refused.message },
      told: hasTold ? { report } : undefined,
      acknowledgedRemoval: translator.acknowledgedRemoval(meshKey),
    });
  }
}
