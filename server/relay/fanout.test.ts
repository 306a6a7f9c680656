import assert from "node:assert/strict";
import { test } from "node:test";
import { Fanout } from "./fanout.ts";

/** Turns of an event loop that the test makes. */
function setUp() {
  const flushed: string[] = [];
  const turns: (() => void)[] = [];
  const fanout = new Fanout(
    (key) => flushed.push(key),
    (work) => turns.push(work),
  );
  return { fanout, flushed, turns };
}

test("fanout - a change of thousands leaves the loop to others after every fifty", () => {
  const { fanout, flushed, turns } = setUp();
  for (let index = 0; index < 120; index++) fanout.mark(`cluster-${index}`);
  assert.deepEqual([flushed.length, turns.length], [0, 1]);
  const sizes = [];
  for (let turn = turns.shift(); turn; turn = turns.shift()) {
    turn();
    sizes.push(flushed.length);
  }
  assert.deepEqual(sizes, [50, 100, 120]);
});

test("fanout - what is marked again before its turn is flushed once, and after it once more", () => {
  const { fanout, flushed, turns } = setUp();
  for (const key of ["a", "b", "a"]) fanout.mark(key);
  turns.shift()?.();
  assert.deepEqual(flushed, ["a", "b"]);
  fanout.mark("a");
  turns.shift()?.();
  assert.deepEqual([flushed, turns.length], [["a", "b", "a"], 0]);
});
