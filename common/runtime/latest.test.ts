import assert from "node:assert/strict";
import { test } from "node:test";
import { Latest } from "./latest.ts";

test("latest - a slow reader gets the newest value and skips what is outdated", async () => {
  const cell = new Latest(1);
  const controller = new AbortController();
  const seen: number[] = [];
  for await (const value of cell.watch(controller.signal)) {
    seen.push(value);
    if (value === 1) for (const next of [2, 3, 4]) cell.set(next);
    if (value === 4) controller.abort();
  }
  assert.deepEqual(seen, [1, 4]);
});

test("latest - each of several readers sees the value", async () => {
  const cell = new Latest<string>();
  const { signal } = new AbortController();
  const readers = [1, 2, 3].map(() => cell.until((value) => value === "here", signal));
  cell.set("here");
  assert.deepEqual(await Promise.all(readers), ["here", "here", "here"]);
});

test("latest - waiting ends with the abort", async () => {
  const cell = new Latest<string>();
  const controller = new AbortController();
  const waiting = cell.until(() => true, controller.signal);
  controller.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
});

test("latest - changes of several cells wake one reader, those that come together once", async () => {
  const [a, b] = [new Latest("a1"), new Latest<string>()];
  const controller = new AbortController();
  const seen: string[] = [];
  for await (const _ of Latest.changes([a, b], controller.signal)) {
    seen.push(`${a.value} ${b.value}`);
    if (seen.length === 1) b.set("b1");
    if (seen.length === 2) {
      setImmediate(() => {
        a.set("a2");
        b.set("b2");
      });
    }
    if (seen.length === 3) controller.abort();
  }
  assert.deepEqual(seen, ["a1 undefined", "a1 b1", "a2 b2"]);
});
