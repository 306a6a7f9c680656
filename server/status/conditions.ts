import type { Condition } from "../../common/api/meta.ts";
import type { Clock } from "../../common/runtime/clock.ts";

/**
 * Gives each fact its `lastTransitionTime`: that of the condition of its type in `previous` while the status stands
 * still, else now, in whole seconds as metav1.Time has them. A condition that is no fact any more is left out.
 */
export function stampConditions(
  facts: readonly Omit<Condition, "lastTransitionTime">[],
  previous: readonly Condition[] | undefined,
  clock: Pick<Clock, "now">,
): Condition[] {
  return facts.map((fact) => {
    const before = previous?.find(({ type }) => type === fact.type);
    const lastTransitionTime = before?.status === fact.status ? before.lastTransitionTime : toTime(clock.now());
    return { ...fact, lastTransitionTime };
  });
}

const toTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
