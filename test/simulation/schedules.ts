import { setImmediate as turn } from "node:timers/promises";
import { runSchedule, Violation, type Outcome } from "./schedule.ts";

/** What many schedules came to. */
export interface Totals {
  readonly schedules: number;
  readonly sessions: number;
  readonly pushes: number;
  readonly removals: number;
  readonly refusals: number;
  readonly sightings: number;
  readonly longestHealingMs: number;
}

const NOTHING: Totals = {
  ...{ schedules: 0, sessions: 0, pushes: 0, removals: 0, refusals: 0, sightings: 0 },
  longestHealingMs: 0,
};

/** Runs one schedule after the other. The first that fails is run again, and thrown with its trace. */
export async function runSchedules(seeds: Iterable<number>): Promise<Totals> {
  let totals = NOTHING;
  for (const seed of seeds) {
    totals = add(totals, await runSchedule(seed).catch((error: unknown) => explain(seed, error)));
    // What was left to the garbage collector gets its turn.
    await turn();
  }
  return totals;
}

async function explain(seed: number, error: unknown): Promise<never> {
  if (!(error instanceof Violation)) throw error;
  const again = await runSchedule(seed, { isTraced: true }).catch((thrown: unknown) => thrown);
  throw again instanceof Violation ? again : new Error(`${error.message}; it does not fail a second time`);
}

const add = (totals: Totals, outcome: Outcome): Totals => ({
  schedules: totals.schedules + 1,
  sessions: totals.sessions + outcome.sessions,
  pushes: totals.pushes + outcome.pushes,
  removals: totals.removals + outcome.removals,
  refusals: totals.refusals + outcome.refusals,
  sightings: totals.sightings + outcome.sightings,
  longestHealingMs: Math.max(totals.longestHealingMs, outcome.healedMs),
});
