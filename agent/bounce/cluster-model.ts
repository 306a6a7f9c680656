import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Cause, Directive } from "./decide.ts";
import { type BouncedPods, type BounceReport, directiveSpec, directiveStatus } from "./directive.ts";
import type { DirectiveName, DirectiveStore } from "./directive-store.ts";
import type { Eviction, PodAccess } from "./pod-access.ts";
import type { Group, PlannedGroup } from "./plan.ts";
import type { Controller, PodFacts } from "./pod.ts";
import type { GroupView } from "./step.ts";

/** A controller of the model, and how its pods behave. */
export interface Workload {
  readonly namespace: string;
  readonly kind: string;
  readonly name: string;
  readonly replicas: number;
  readonly isGateway?: boolean;
  /** How long a new pod takes to be Ready; Infinity: it never is. */
  readonly readyAfterMs?: number;
  /** Age of its pods at the beginning; default one hour. */
  readonly ageMs?: number;
  /** Evictions are refused before this moment. */
  readonly blockedUntilMs?: number;
}

const HOUR_MS = 3_600_000;

interface ModelPod extends PodFacts {
  readonly workload: Workload | undefined;
  readonly readyAtMs: number;
}

/**
 * A cluster for tests: a model of what controllers and kubelets do with pods, moved by a clock. It records what is evicted,
 * and keeps directives.
 */
export class ClusterModel implements PodAccess, DirectiveStore {
  readonly evicted: PodFacts[] = [];
  readonly directives = new Map<string, Directive>();
  /** Messages of all statuses, in order, and evictions among them. */
  readonly history: string[] = [];
  scans = 0;
  readonly #clock: Clock;
  #pods: ModelPod[] = [];
  #count = 0;

  constructor(clock: Clock, workloads: readonly Workload[]) {
    this.#clock = clock;
    for (const workload of workloads) {
      for (let index = 0; index < workload.replicas; index += 1) {
        this.#create(workload, clock.now() - (workload.ageMs ?? HOUR_MS), 0);
      }
    }
  }

  get pods(): readonly PodFacts[] {
    return this.#pods;
  }

  /** A pod that nobody replaces. */
  addBare(namespace: string, name: string, kind?: string): void {
    this.#create(undefined, this.#clock.now() - HOUR_MS, 0);
    const pod = this.#pods.pop();
    if (!pod) return;
    const controller = kind === undefined ? undefined : { apiVersion: "batch/v1", kind, name, uid: `uid-${name}` };
    this.#pods.push({ ...pod, namespace, name, controller });
  }

  /** What controllers and kubelets do by now: the evicted are gone, new ones come, and become Ready. */
  reconcile(): void {
    const nowMs = this.#clock.now();
    this.#pods = this.#pods.filter(({ terminating }) => !terminating);
    const workloads = new Set(this.evicted.map((pod) => (pod as ModelPod).workload));
    for (const workload of workloads) {
      if (!workload) continue;
      const present = this.#pods.filter((pod) => pod.workload === workload).length;
      for (let missing = workload.replicas - present; missing > 0; missing -= 1) {
        this.#create(workload, nowMs, workload.readyAfterMs ?? 1_000);
      }
    }
    this.#pods = this.#pods.map((pod) => ({ ...pod, ready: pod.readyAtMs <= nowMs }));
  }

  async scan(): Promise<PodFacts[]> {
    this.scans += 1;
    return [...this.#pods];
  }

  async look({ controllers }: Pick<Group, "namespace" | "controllers">): Promise<GroupView> {
    const uids = new Set(controllers.map(({ uid }) => uid));
    const pods = this.#pods.filter(({ controller }) => controller && uids.has(controller.uid));
    return { pods, desired: pods[0]?.workload?.replicas ?? 0 };
  }

  async evict(pod: PodFacts): Promise<Eviction> {
    const found = this.#pods.find(({ uid }) => uid === pod.uid);
    if (!found) return { kind: "gone" };
    if (this.#clock.now() < (found.workload?.blockedUntilMs ?? 0)) {
      return { kind: "refused", why: "the disruption budget b allows none", retryAfterMs: 0 };
    }
    this.evicted.push(found);
    this.history.push(`evict ${found.namespace}/${found.name}`);
    this.#pods = this.#pods.map((each) => (each === found ? { ...found, terminating: true, ready: false } : each));
    return { kind: "evicted" };
  }

  async writeSpec(name: DirectiveName, cause: Cause, groups: readonly PlannedGroup[]): Promise<Directive> {
    const before = this.directives.get(name.name);
    const spec = directiveSpec(name, cause, groups);
    const generation = (before?.generation ?? 0) + 1;
    const after = { ...name, generation, spec, status: before?.status, request: before?.request };
    this.directives.set(name.name, after);
    return after;
  }

  async writeStatus({ name }: Directive, report: BounceReport, bounced: BouncedPods): Promise<void> {
    const stored = this.directives.get(name);
    if (!stored) throw new MeshError("not_found", `directive ${name} is not there`);
    const status = directiveStatus(stored, report, bounced, this.#clock.now());
    this.directives.set(name, { ...stored, status });
    this.history.push(`${report.state} ${report.message}`);
  }

  #create(workload: Workload | undefined, atMs: number, readyAfterMs: number): void {
    const { namespace = "bare", kind = "", name = "bare", isGateway = false } = workload ?? {};
    const id = `${name}-${(this.#count += 1)}`;
    const uid = `uid-${namespace}-${kind}-${name}`;
    const apiVersion = kind === "Job" ? "batch/v1" : "apps/v1";
    const controller: Controller | undefined = workload && { apiVersion, kind, name, uid };
    this.#pods.push({
      ...{ workload, namespace, controller, name: id, uid: `pod-${id}`, labels: { app: name } },
      createdMs: Math.floor(atMs / 1000) * 1000,
      ready: readyAfterMs === 0,
      readyAtMs: atMs + readyAfterMs,
      terminating: false,
      proxy: { isGateway, authority: undefined, revision: undefined },
    });
  }
}
