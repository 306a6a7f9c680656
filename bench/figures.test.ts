import assert from "node:assert/strict";
import { test } from "node:test";
import { figureOf, sampleOf } from "./figures.ts";

test("bench figures - the median is the middle value, of an even number the mean of two", () => {
  const odd = sampleOf([9, 1, 5]);
  assert.deepEqual([odd.median, odd.min, odd.max], [5, 1, 9]);
  assert.equal(sampleOf([1, 2, 3, 10]).median, 2.5);
});

test("bench figures - a ratio pairs what was measured side by side and decides its goal by the median", () => {
  const goal = { of: "ratio", atMost: 1.5 } as const;
  const figure = figureOf({ name: "push", unit: "us", goal }, [10, 40, 12], [10, 20, 10]);
  assert.deepEqual(figure.ratio?.values, [1, 2, 1.2]);
  assert.equal(figure.met, true);
  assert.equal(figureOf({ name: "push", unit: "us", goal }, [16], [10]).met, false);
});

test("bench figures - a goal of its own value needs no bare limit", () => {
  const goal = { of: "value", atMost: 85 } as const;
  assert.equal(figureOf({ name: "rss", unit: "MiB", goal }, [86], [60]).met, false);
  assert.equal(figureOf({ name: "rss", unit: "MiB", goal }, [84]).met, true);
});
