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
