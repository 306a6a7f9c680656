import type { PodFacts } from "./pod.ts";

/** The pods of a group as they are now, with those of its controllers that have no proxy. */
export interface GroupView {
  readonly pods: readonly PodFacts[];
  /** How many its controllers want. */
  readonly desired: number;
}

export type Step =
  | { readonly kind: "evict"; readonly pod: PodFacts }
  /** `forReplacement`: for a pod that came after the old ones to be ready. */
  | { readonly kind: "wait"; readonly why: string; readonly forReplacement: boolean }
  | { readonly kind: "done" };

/** What the group has before it, beside the next step. */
export interface Judgement {
  readonly step: Step;
  readonly oldPods: number;
}

/**
 * What to do next with one controller's pods: one at a time, the next when all that are wanted are Ready again. An old
 * pod that is not Ready is taken first, and also while it is what is missing: its restart makes nothing worse.
 */
export function judge({ pods, desired }: GroupView, cutoffMs: number): Judgement {
  const present = pods.filter(({ terminating }) => !terminating);
  const isOld = ({ proxy, createdMs }: PodFacts): boolean => proxy !== undefined && createdMs <= cutoffMs;
  const [next, ...others] = present.filter(isOld).sort(inOrder);
  const oldPods = next ? 1 + others.length : 0;
  const unready = present.filter((pod) => !pod.ready);
  const ready = present.length - unready.length;
  const forReplacement = unready.some(({ createdMs }) => createdMs > cutoffMs);
  const wait = (why: string): Judgement => ({ step: { kind: "wait", why, forReplacement }, oldPods });
  if (!next) return ready >= desired ? { step: { kind: "done" }, oldPods } : wait(readiness(ready, desired));
  if (desired === 0) return wait("it is scaled to 0");
  const isOnlyOldMissing = present.length >= desired && !next.ready && unready.every(isOld);
  if (ready >= desired || isOnlyOldMissing) return { step: { kind: "evict", pod: next }, oldPods };
  return wait(readiness(ready, desired));
}

const readiness = (ready: number, desired: number): string => `${ready} of ${desired} pods are ready`;

/** Unready ones first, then from the oldest on. */
function inOrder(a: PodFacts, b: PodFacts): number {
  if (a.ready !== b.ready) return a.ready ? 1 : -1;
  return a.createdMs - b.createdMs || (a.name < b.name ? -1 : 1);
}
