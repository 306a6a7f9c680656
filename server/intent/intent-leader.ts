import { isDeepStrictEqual } from "node:util";
import type { Mesh } from "../../common/api/discovery.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { PacedWork } from "../../common/runtime/paced-work.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import { leaderPartOf, nextLeaderPart } from "../status/mesh-part.ts";
import { StatusWriter } from "../status/status-writer.ts";
import { intentVersion, snapshotOf, type World } from "../store/world.ts";
import { Judge, type Judgement } from "./judge.ts";
import { logJudgements } from "./report.ts";

/** A judgement, and the newest objects that it holds for. */
export interface Judged {
  readonly world: World;
  readonly judgement: Judgement;
}

export interface IntentLeaderOptions {
  readonly client: KubeClient;
  readonly worlds: Latest<World>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/**
 * The leader's work on intent, for one term: judges the VirtualMeshes whenever something that people write has changed, and
 * writes into each Mesh what applies to it. All replicas read it there.
 */
export class IntentLeader {
  /** Set after each world. */
  readonly judged = new Latest<Judged>();
  readonly #options: IntentLeaderOptions;
  readonly #judge = new Judge();
  readonly #writer: StatusWriter;
  readonly #paced: PacedWork;
  #version = "";

  constructor(options: IntentLeaderOptions) {
    this.#options = options;
    const { client, clock, random, log } = options;
    this.#writer = new StatusWriter({ client, manager: "enterprise-networking" });
    this.#paced = new PacedWork({
      work: (key, signal) => this.#write(key, signal),
      onFailure: (mesh, err) => log.warn("what applies to a mesh cannot be written", { mesh, err }),
      clock,
      random,
    });
  }

  /** Leads until `signal` is aborted. To be called once. */
  async run(signal: AbortSignal): Promise<void> {
    await runTasks(signal, { judge: (stop) => this.#follow(stop), write: (stop) => this.#paced.run(stop) });
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const world of this.#options.worlds.watch(signal)) {
      const before = this.judged.value;
      const judgement = this.#judgementOf(world);
      this.judged.set({ world, judgement });
      for (const [key, mesh] of world.meshes) {
        const isSame = before?.judgement === judgement && before.world.meshes.get(key) === mesh;
        if (!isSame && !this.#isWritten(mesh, judgement)) this.#paced.touch(key);
      }
    }
  }

  #judgementOf(world: World): Judgement {
    const { clock, log } = this.#options;
    const before = this.judged.value?.judgement;
    const version = intentVersion(world);
    if (before && version === this.#version) return before;
    this.#version = version;
    const judgement = this.#judge.pass(snapshotOf(world), clock.now());
    const problems = world.problems.filter((problem) => !this.judged.value?.world.problems.includes(problem));
    logJudgements(log, { verdicts: judgement.verdicts, problems }, before?.verdicts);
    return judgement;
  }

  #isWritten(mesh: Mesh, judgement: Judgement): boolean {
    return isDeepStrictEqual(nextLeaderPart(mesh, judgement, this.#options.clock.now()), leaderPartOf(mesh));
  }

  async #write(key: string, signal: AbortSignal): Promise<void> {
    const { world, judgement } = this.judged.value ?? {};
    const mesh = world?.meshes.get(key);
    if (!mesh || !judgement || this.#isWritten(mesh, judgement)) return;
    await this.#writer.write(mesh, nextLeaderPart(mesh, judgement, this.#options.clock.now()), signal);
  }
}
