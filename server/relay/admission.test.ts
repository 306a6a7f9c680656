import assert from "node:assert/strict";
import { test } from "node:test";
import { MeshError } from "../../common/runtime/errors.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { Admission } from "./admission.ts";

const START_MS = 1_000_000;

/** What `cluster` is told now: 0 when it is let in, else after how many milliseconds to come back. */
function ask(admission: Admission, cluster: string): number {
  try {
    return admission.take(cluster);
  } catch (thrown) {
    return MeshError.from(thrown).retryAfterMs ?? Number.NaN;
  }
}

/** Lets `agents` come at once, and each again when it is told to; says when each was let in, and how often all asked. */
function herd(perSecond: number, agents: number) {
  const clock = new ManualClock(START_MS);
  const admission = new Admission(clock, perSecond);
  const waiting = Array.from({ length: agents }, (_, number) => ({ number, atMs: START_MS }));
  const admittedMs: number[] = [];
  let asked = 0;
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    clock.advance(Math.max(0, next.atMs - clock.now()));
    asked += 1;
    const retryAfterMs = ask(admission, `cluster-${next.number}`);
    if (retryAfterMs === 0) admittedMs.push(clock.now() - START_MS);
    else waiting.push({ ...next, atMs: clock.now() + retryAfterMs });
    waiting.sort((a, b) => a.atMs - b.atMs);
  }
  return { admittedMs, asked };
}

test("admission - a herd is let in at the rate, and nobody is sent away twice", () => {
  const { admittedMs, asked } = herd(200, 1_000);
  assert.ok(asked < 2_000, `${asked} times asked`);
  assert.ok((admittedMs.at(-1) ?? Infinity) <= 4_000);
  for (const from of [0, 1_000, 2_500]) {
    const inOneSecond = admittedMs.filter((at) => at > from && at <= from + 1_000).length;
    assert.ok(inOneSecond <= 201, `${inOneSecond} in the second after ${from} ms`);
  }
});

test("admission - a place is kept for whoever was told to come, however many come before it", () => {
  const clock = new ManualClock(START_MS);
  const admission = new Admission(clock, 2);
  const told = ["a", "b", "c", "d", "e"].map((cluster) => ask(admission, cluster));
  assert.deepEqual(told, [0, 0, 500, 1_000, 1_500]);
  clock.advance(200);
  assert.equal(ask(admission, "c"), 300, "too early, and its place stays the same");
  clock.advance(800);
  assert.equal(ask(admission, "f"), 1_000, "one that comes new stands behind all");
  assert.equal(ask(admission, "d"), 0);
  assert.equal(ask(admission, "c"), 0, "late, and its place is still kept");
});

test("admission - a place that nobody came for is forgotten", () => {
  const clock = new ManualClock(START_MS);
  const admission = new Admission(clock, 1);
  assert.deepEqual([ask(admission, "a"), ask(admission, "b")], [0, 1_000]);
  clock.advance(40_000);
  assert.deepEqual([ask(admission, "c"), ask(admission, "b")], [0, 1_000]);
});

test("admission - a clock that is set back keeps nobody out", () => {
  const clock = new ManualClock(START_MS);
  const admission = new Admission(clock, 10);
  for (let number = 0; number < 15; number++) ask(admission, `cluster-${number}`);
  clock.advance(-3_600_000);
  const told = [12, 13, 14].map((number) => ask(admission, `cluster-${number}`));
  assert.ok(Math.max(...told) < 2_000, told.join());
});

test("admission - a cluster that comes again and again takes no place from the others", () => {
  const admission = new Admission(new ManualClock(START_MS), 100);
  for (let count = 0; count < 200; count++) ask(admission, "cluster-1");
  assert.equal(ask(admission, "cluster-2"), 0);
});
