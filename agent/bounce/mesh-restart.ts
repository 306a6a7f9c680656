import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Reason } from "./decide.ts";
import { cutoffOf, type Group, type Plan, planRestart } from "./plan.ts";
import type { NamespaceRoot } from "./namespace-root.ts";
import type { Eviction, PodAccess } from "./pod-access.ts";
import type { PodFacts } from "./pod.ts";
import { beginning, choose, type GroupProgress, remainingOf } from "./progress.ts";
import { judge } from "./step.ts";

export interface MeshRestartOptions {
  readonly access: PodAccess;
  readonly clock: Clock;
  /** The pods of the mesh among those with a proxy. */
  readonly isOfMesh: (pod: PodFacts) => boolean;
  readonly reason: Reason;
  /** The root that new pods of a namespace begin with, as it is known now. */
  readonly rootOf: (namespace: string) => NamespaceRoot | undefined;
}

/** A pod that was restarted. */
export interface Restarted {
  readonly group: Group;
  readonly pod: PodFacts;
}

/**
 * Between planning and the first eviction. By then the second in which a namespace took its root, or a restart was asked
 * for, is over by everybody's clock, so that a replacement is younger than that for sure.
 */
export const SETTLE_MS = 2_000;
/** Between two looks at a group that cannot go on. */
const RETRY_MS = 10_000;

/**
 * The restart of one mesh's pods for one reason. What is done is seen in the pods themselves: one that began after the
 * moment that the reason names is not restarted again, whoever takes the work up.
 */
export class MeshRestart {
  readonly #options: MeshRestartOptions;
  #plan: Plan | undefined;
  #plannedMs = 0;
  #groups: GroupProgress[] = [];

  constructor(options: MeshRestartOptions) {
    this.#options = options;
  }

  get reason(): Reason {
    return this.#options.reason;
  }

  /** undefined before the first plan. */
  get plan(): Plan | undefined {
    return this.#plan;
  }

  get groups(): readonly GroupProgress[] {
    return this.#groups;
  }

  /** Pods that nobody would replace, as "namespace/name". */
  get unmanaged(): readonly string[] {
    return this.#plan?.unmanaged ?? [];
  }

  get remaining(): number {
    return remainingOf(this.#groups, this.#plan?.waiting ?? []);
  }

  /** True when nothing is left that can be restarted. */
  get isDone(): boolean {
    return this.#plan !== undefined && this.#groups.length === 0 && this.#plan.waiting.length === 0;
  }

  /** True when nothing goes on, and the API server forbids what would be next. */
  get isForbidden(): boolean {
    const isMoving = this.#groups.some(({ stage }) => stage === "awaiting");
    return !isMoving && this.#groups.some((progress) => progress.isForbidden);
  }

  /** True when all of the plan is done, so that the next one tells what is left. */
  get isPlanDone(): boolean {
    return this.#groups.every(({ stage }) => stage === "done") && !this.#isRootAwaited;
  }

  /** A namespace that was waited for has its root by now. */
  get hasNews(): boolean {
    return this.#plan?.waiting.some(({ namespace }) => this.#cutoff(namespace) !== undefined) ?? true;
  }

  get #isRootAwaited(): boolean {
    return (this.#plan?.waiting.length ?? 0) > 0;
  }

  /** Looks at all pods and plans. Nothing is restarted yet. Throws what reading throws. */
  async replan(signal: AbortSignal): Promise<void> {
    const { access, clock, isOfMesh } = this.#options;
    const pods = (await access.scan(signal)).filter(isOfMesh);
    this.#plan = planRestart(pods, (namespace) => this.#cutoff(namespace));
    this.#groups = this.#plan.groups.map(beginning);
    this.#plannedMs = clock.now();
  }

  /** Goes one step on in each group whose turn it is, and returns the pods restarted. A group's fault stays its own. */
  async advance(signal: AbortSignal): Promise<Restarted[]> {
    const nowMs = this.#options.clock.now();
    if (nowMs < this.#plannedMs + SETTLE_MS) return [];
    const chosen = choose(this.#groups, this.#plan?.waiting ?? [], nowMs);
    const steps = await Promise.all(chosen.map((progress) => this.#step(progress, signal)));
    const after = new Map(steps.map(({ progress }) => [progress.group.key, progress]));
    this.#groups = this.#groups.map((progress) => after.get(progress.group.key) ?? progress);
    return steps.flatMap(({ restarted }) => restarted ?? []);
  }

  async #step(before: GroupProgress, signal: AbortSignal): Promise<StepResult> {
    try {
      return await this.#tryStep(before, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      const { message, code } = MeshError.from(thrown);
      return { progress: { ...this.#later(before, message), isForbidden: code === "permission_denied" } };
    }
  }

  async #tryStep(before: GroupProgress, signal: AbortSignal): Promise<StepResult> {
    const { access } = this.#options;
    const { group } = before;
    const view = await access.look(group, signal);
    const { step, oldPods } = judge(view, group.cutoffMs);
    const progress = { ...before, oldPods, isForbidden: false };
    if (step.kind === "done") return { progress: { ...progress, stage: "done", why: "" } };
    if (step.kind === "wait") {
      const isAwaited = step.forReplacement || before.stage === "awaiting";
      return {
        progress: isAwaited ? { ...progress, stage: "awaiting", why: step.why } : this.#later(progress, step.why),
      };
    }
    // The root may have changed again since the plan was made: a new pod would begin with the wrong one.
    if (this.#cutoff(group.namespace) === undefined)
      return { progress: this.#later(progress, "its root changed again") };
    const eviction = await access.evict(step.pod, signal);
    return this.#evicted(progress, step.pod, eviction);
  }

  #evicted(progress: GroupProgress, pod: PodFacts, eviction: Eviction): StepResult {
    const { group, oldPods } = progress;
    if (eviction.kind === "refused") return { progress: this.#later(progress, eviction.why, eviction.retryAfterMs) };
    const awaiting = { ...progress, stage: "awaiting", oldPods: oldPods - 1, why: `${pod.name} is replaced` } as const;
    return eviction.kind === "gone" ? { progress: awaiting } : { progress: awaiting, restarted: { group, pod } };
  }

  #later(progress: GroupProgress, why: string, atLeastMs = 0): GroupProgress {
    const retryAtMs = this.#options.clock.now() + Math.max(RETRY_MS, atLeastMs);
    return { ...progress, stage: "queued", why, retryAtMs };
  }

  #cutoff(namespace: string): number | undefined {
    return cutoffOf(this.#options.reason, this.#options.rootOf(namespace));
  }
}

interface StepResult {
  readonly progress: GroupProgress;
  readonly restarted?: Restarted;
}
