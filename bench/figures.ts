/** Repeated measurements of one thing. */
export interface Sample {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** In the order in which they were taken. */
  readonly values: readonly number[];
}

/** What a figure is held to: a bound of its ratio to the bare limit, or of its own median. */
export interface Goal {
  readonly of: "ratio" | "value";
  readonly atMost: number;
}

/** Something measured on our programs and, where there is one, on a bare limit in the same run. */
export interface Figure {
  readonly name: string;
  /** Of a fleet of so many, where the figure is one of a fleet. */
  readonly agents?: number;
  readonly unit: string;
  readonly ours: Sample;
  readonly bare?: Sample;
  /** Ours over bare, repetition by repetition: noise that hits both sides of one repetition cancels out. */
  readonly ratio?: Sample;
  readonly goal?: Goal;
  /** Whether the median keeps the goal. */
  readonly met?: boolean;
}

/** The median of an even number of values is the mean of the middle two; of none, everything is NaN. */
export function sampleOf(values: readonly number[]): Sample {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  const middle = (sorted.length - 1) / 2;
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    min: at(0),
    max: at(sorted.length - 1),
    values,
  };
}

/** What is known of a figure before it is measured. */
export type FigureHead = Pick<Figure, "name" | "agents" | "unit" | "goal">;

/** `bare` has as many values as `ours`, taken beside them. */
export function figureOf({ goal, ...head }: FigureHead, ours: readonly number[], bare?: readonly number[]): Figure {
  const ratio = bare && sampleOf(ours.map((value, index) => value / (bare[index] ?? Number.NaN)));
  const figure = {
    ...head,
    ours: sampleOf(ours),
    ...(bare && ratio ? { bare: sampleOf(bare), ratio } : {}),
  };
  const judged = goal?.of === "ratio" ? ratio : figure.ours;
  return goal && judged ? { ...figure, goal, met: judged.median <= goal.atMost } : figure;
}
