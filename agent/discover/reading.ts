/** What was read of an object of the cluster, or why it is left out, for people. */
export type Reading<T> =
  | { readonly kind: "read"; readonly value: T }
  | { readonly kind: "left out"; readonly object: string; readonly reason: string };

/** An object that discovery does not report, and why. */
export interface LeftOut {
  /** "Deployment istio-system/istiod" */
  readonly object: string;
  readonly reason: string;
}

export const read = <T>(value: T): Reading<T> => ({ kind: "read", value });

export const leftOut = (object: string, reason: string): Reading<never> => ({ kind: "left out", object, reason });

/** Divides readings into what was read and what was left out, in their order. */
export function divide<T>(readings: readonly Reading<T>[]): { readonly values: T[]; readonly leftOut: LeftOut[] } {
  return {
    values: readings.flatMap((reading) => (reading.kind === "read" ? [reading.value] : [])),
    leftOut: readings.flatMap((reading) =>
      reading.kind === "read" ? [] : [{ object: reading.object, reason: reading.reason }],
    ),
  };
}
