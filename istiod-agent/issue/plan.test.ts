import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { planRenewal, runwaySeconds } from "./plan.ts";

const DAY_MS = 86_400_000;

test("renewal plan - lies within the life, at most 10 % off its middle, never later than the grace period", () => {
  const input = fc.record({
    notBeforeMs: fc.integer({ min: 0, max: 4_000_000_000_000 }),
    lifeMs: fc.integer({ min: 1000, max: 3650 * DAY_MS }),
    graceRatio: fc.double({ min: 0.001, max: 0.999, noNaN: true }),
    spreadKey: fc.string(),
  });
  fc.assert(
    fc.property(input, ({ lifeMs, notBeforeMs, graceRatio, spreadKey }) => {
      const notAfterMs = notBeforeMs + lifeMs;
      const { renewAtMs, alarmAtMs } = planRenewal({ notBeforeMs, notAfterMs, graceRatio, spreadKey });
      assert.ok(renewAtMs > notBeforeMs && renewAtMs < notAfterMs && alarmAtMs < notAfterMs);
      assert.ok(renewAtMs < alarmAtMs);
      assert.ok(renewAtMs <= notAfterMs - lifeMs * graceRatio + 1);
      assert.ok(renewAtMs <= notBeforeMs + lifeMs * 0.55 + 1);
      if (graceRatio < 0.45) assert.ok(renewAtMs >= notBeforeMs + lifeMs * 0.45 - 1);
    }),
  );
});

test("renewal plan - replicas spread over the window, one replica always gets the same moment", () => {
  const at = (spreadKey: string): number =>
    planRenewal({ notBeforeMs: 0, notAfterMs: 100 * DAY_MS, graceRatio: 0.1, spreadKey }).renewAtMs / DAY_MS;
  const days = Array.from({ length: 200 }, (_, index) => at(`cluster-${index}/istiod`)).sort((a, b) => a - b);
  assert.ok((days[0] ?? 0) < 46 && (days.at(-1) ?? 0) > 54);
  assert.equal(at("cluster-1"), at("cluster-1"));
});

test("runway - counts down to the end and stops at zero", () => {
  assert.equal(runwaySeconds(10_000, 4_000), 6);
  assert.equal(runwaySeconds(10_000, 11_000), 0);
});
