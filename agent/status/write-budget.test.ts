import assert from "node:assert/strict";
import { test } from "node:test";
import { WriteBudget } from "./write-budget.ts";

test("write budget - a burst is let through, then one write each two seconds, however often it is asked", () => {
  const budget = new WriteBudget();
  for (let count = 0; count < 20; count++) assert.equal(budget.take(0), 0);
  assert.equal(budget.take(0), 2_000);
  assert.equal(budget.take(500), 1_500);
  assert.equal(budget.take(2_000), 0);
  assert.ok(budget.take(2_000) > 0);
  let written = 0;
  for (let ms = 2_000; ms <= 62_000; ms += 100) if (budget.take(ms) === 0) written += 1;
  assert.ok(written >= 29 && written <= 30, `${written} writes in a minute`);
  assert.equal(budget.take(10 * 60_000), 0);
});
