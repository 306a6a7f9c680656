/**
 * Server replicas, agents and a bad network in one process and in a time of their own: the product's hub, sessions, push
 * machines, session records, relay clients and intent holders, with everything that is I/O in their way. What must never
 * happen is written in ledger.ts, how all must end in schedule.ts, and what this can find in mutants.ts.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runCommand } from "../harness/command.ts";
import { runSchedule } from "./schedule.ts";
import type { Totals } from "./schedules.ts";

const BATCH = 2_500;
const BATCHES = 4;
const MAIN = `${import.meta.dirname}/main.ts`;

describe("simulation", { concurrency: 2 }, () => {
  for (const first of Array.from({ length: BATCHES }, (_, index) => index * BATCH + 1)) {
    test(`simulation - whatever happens to seeds ${first} to ${first + BATCH - 1}, all agree in the end, and nothing is lost`, async (t) => {
      const args = [MAIN, String(first), String(BATCH)];
      const printed = await runCommand(process.execPath, args, { timeoutMs: 280_000 });
      t.diagnostic(printed.trim());
      const { schedules, sessions, pushes, removals, refusals, sightings } = JSON.parse(printed) as Totals;
      assert.equal(schedules, BATCH);
      // A world in which nothing happens finds nothing.
      assert.ok(
        sessions > 3 * BATCH &&
          pushes > 3 * BATCH &&
          removals > BATCH / 20 &&
          refusals > BATCH / 5 &&
          sightings > BATCH / 5,
      );
    });
  }
});

test("simulation - a seed does the same again, to the last message", async () => {
  for (let seed = 1; seed <= 25; seed++) {
    const [first, second] = [await runSchedule(seed, { isTraced: true }), await runSchedule(seed, { isTraced: true })];
    assert.ok(first.trace.length > 5);
    assert.deepEqual(first, second);
  }
});
