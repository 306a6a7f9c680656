import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ManualClock } from "./manual-clock.ts";
import { MeshError } from "./errors.ts";
import { Backoff, retry } from "./retry.ts";

test("backoff - waits stay within the cap and grow from the base, whatever chance says", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 1, maxLength: 50 }), (rolls) => {
      let index = 0;
      const backoff = new Backoff({ baseMs: 100, capMs: 5_000, random: () => rolls[index++ % rolls.length] ?? 0 });
      for (let attempt = 0; attempt < rolls.length; attempt++) {
        assert.ok(backoff.next() <= Math.min(5_000, 100 * 2 ** attempt));
      }
      backoff.reset();
      assert.ok(backoff.next() <= 100);
    }),
  );
});

test("backoff - a wait that the other side named is kept", () => {
  assert.equal(new Backoff({ baseMs: 100, capMs: 5_000, random: () => 0 }).next(700), 700);
});

test("retry - goes on after retriable errors and stops at the first other one", async () => {
  const clock = new ManualClock();
  const waits: number[] = [];
  let attempts = 0;
  const work = async (): Promise<string> => {
    attempts += 1;
    if (attempts < 3) throw new MeshError("unavailable", "away");
    if (attempts === 3) throw new MeshError("invalid_argument", "wrong");
    return "done";
  };
  const { signal } = new AbortController();
  const running = retry(work, {
    clock,
    signal,
    baseMs: 10,
    capMs: 10,
    random: () => 0,
    onRetry: (_, ms) => waits.push(ms),
  });
  await assert.rejects(running, { code: "invalid_argument" });
  assert.deepEqual([attempts, waits], [3, [0, 0]]);
});
