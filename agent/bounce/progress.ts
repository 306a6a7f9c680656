import type { Group, Plan } from "./plan.ts";

/** How far the restart of one group is. */
export interface GroupProgress {
  readonly group: Group;
  /** "awaiting": a pod was evicted, and not all that are wanted are Ready again. */
  readonly stage: "queued" | "awaiting" | "done";
  /** Not looked at before this moment. */
  readonly retryAtMs: number;
  /** What it waits for; "" when for nothing but its turn. */
  readonly why: string;
  readonly oldPods: number;
  /** The API server forbids what is to be done: somebody has to grant it. */
  readonly isForbidden: boolean;
}

/**
 * Controllers whose replacements are waited for at the same time: one in twenty, within bounds. When so many do not come up,
 * nothing more is restarted.
 */
export const atOnce = (controllers: number): number => Math.min(50, Math.max(10, Math.ceil(controllers / 20)));

export const beginning = (group: Group): GroupProgress => ({
  group,
  stage: "queued",
  retryAtMs: 0,
  why: "",
  oldPods: group.oldPods,
  isForbidden: false,
});

/**
 * The groups to look at now: those that are under way, and as many of the next ones as there is room for. Workloads have
 * their turn when no gateway is left, not even one that waits for its namespace's root.
 */
export function choose(groups: readonly GroupProgress[], waiting: Plan["waiting"], nowMs: number): GroupProgress[] {
  const gateways = groups.filter(({ group, stage }) => group.isGateway && stage !== "done");
  const isGatewaysTurn = gateways.length > 0 || waiting.some((namespace) => namespace.gateways > 0);
  const open = isGatewaysTurn ? gateways : groups.filter(({ stage }) => stage !== "done");
  const underWay = open.filter(({ stage }) => stage === "awaiting");
  const next = open.filter(({ stage, retryAtMs }) => stage === "queued" && retryAtMs <= nowMs);
  return [...underWay, ...next.slice(0, Math.max(0, atOnce(groups.length) - underWay.length))];
}

/** Pods that are still to be restarted. */
export function remainingOf(groups: readonly GroupProgress[], waiting: Plan["waiting"]): number {
  const queued = groups.reduce((sum, { oldPods }) => sum + oldPods, 0);
  return waiting.reduce((sum, { pods }) => sum + pods, queued);
}

const MAX_NAMED = 3;

/** What the restart waits for, for people: the first few of all reasons. */
export function describeWaits(groups: readonly GroupProgress[], waiting: Plan["waiting"], rootMap: string): string {
  const roots = waiting.map(({ namespace }) => `${namespace}: its ConfigMap ${rootMap} has not the root yet`);
  const waits = groups.flatMap(({ group, stage, why }) => (stage !== "done" && why ? [`${group.key}: ${why}`] : []));
  const all = [...waits, ...roots];
  const more = all.length > MAX_NAMED ? [`and ${all.length - MAX_NAMED} more`] : [];
  return [...all.slice(0, MAX_NAMED), ...more].join("; ");
}
