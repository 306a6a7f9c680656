import type { Clock } from "../common/runtime/clock.ts";

/** What every cluster goes through, in this order. */
export const CLUSTER_STEPS = [
  "vault ready",
  "vault set up",
  "registered",
  "enrolled",
  "istiod-agent waits",
  "intent delivered",
  "logged in to vault",
  "ca signed",
  "installed",
  "istiod may start",
  "sidecar linked",
  "status reported",
] as const;
/** One of them. */
export type ClusterStep = (typeof CLUSTER_STEPS)[number];

/** What happens once. */
export type GlobalStep = "root made" | "server ready" | "virtual mesh published" | "checked";

/** A step that was reached. */
export interface Mark {
  readonly step: ClusterStep | GlobalStep;
  readonly cluster?: string;
  /** Milliseconds since the demo began. */
  readonly atMs: number;
  /** Milliseconds since what came before it: the cluster's last step, or the last common one. */
  readonly tookMs: number;
  readonly detail?: string;
}

/** What was reached so far, and when. Each step counts once. */
export class Progress {
  readonly marks: Mark[] = [];
  readonly #clock: Clock;
  readonly #startMs: number;
  readonly #onMark: (mark: Mark) => void;
  readonly #waiters = new Set<() => void>();

  constructor(clock: Clock, onMark: (mark: Mark) => void) {
    this.#clock = clock;
    this.#startMs = clock.now();
    this.#onMark = onMark;
  }

  reached(step: GlobalStep, detail?: string): void {
    this.#mark(step, undefined, detail);
  }

  reachedBy(cluster: string, step: ClusterStep, detail?: string): void {
    this.#mark(step, cluster, detail);
  }

  has(step: ClusterStep, cluster: string): boolean {
    return this.marks.some((mark) => mark.step === step && mark.cluster === cluster);
  }

  /** The first step that the cluster lacks; undefined when it has all. */
  missing(cluster: string): ClusterStep | undefined {
    return CLUSTER_STEPS.find((step) => !this.has(step, cluster));
  }

  /** Resolves when every one of `clusters` has reached `step`; rejects with the signal's reason. */
  async until(step: ClusterStep, clusters: readonly string[], signal: AbortSignal): Promise<void> {
    while (!clusters.every((cluster) => this.has(step, cluster))) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiters.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiters.add(wake);
        signal.addEventListener("abort", wake, { once: true });
      });
    }
  }

  #mark(step: Mark["step"], cluster: string | undefined, detail: string | undefined): void {
    if (this.marks.some((mark) => mark.step === step && mark.cluster === cluster)) return;
    const atMs = this.#clock.now() - this.#startMs;
    const before = this.marks.filter((mark) => cluster === undefined || (mark.cluster ?? cluster) === cluster).at(-1);
    const mark: Mark = {
      step,
      atMs,
      tookMs: atMs - (before?.atMs ?? 0),
      ...(cluster === undefined ? {} : { cluster }),
      ...(detail === undefined ? {} : { detail }),
    };
    this.marks.push(mark);
    this.#onMark(mark);
    for (const wake of [...this.#waiters]) wake();
  }
}
