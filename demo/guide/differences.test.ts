import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { differencesOf, parseEntries } from "./differences.ts";

test("guide differences - as few lines as there can be, in their order", () => {
  assert.deepEqual(differencesOf(["a", "b", "c", "d"], ["a", "x", "c", "d", "y"]), ["-b", "+x", "+y"]);
  assert.deepEqual(differencesOf([], ["a"]), ["+a"]);
  assert.deepEqual(differencesOf(["a"], []), ["-a"]);
  assert.deepEqual(differencesOf(["a"], ["a"]), []);
});

test("guide differences - they tell exactly what one document has beside the other", () => {
  const lines = fc.array(fc.constantFrom("a", "b", "c", ""));
  fc.assert(
    fc.property(lines, lines, (before, after) => {
      const found = differencesOf(before, after);
      const taken = (sign: string): string[] =>
        found.filter((each) => each.startsWith(sign)).map((each) => each.slice(1));
      const without = (all: readonly string[], out: readonly string[]): string => {
        const rest = [...all];
        for (const line of out) rest.splice(rest.indexOf(line), 1);
        return rest.toSorted().join("\n");
      };
      assert.equal(without(before, taken("-")), without(after, taken("+")));
    }),
  );
});

test("guide differences - an entry has a number, a reason and lines, those of fences too", () => {
  const document = [
    "# Differences",
    "## 1. One thing",
    "Because of it.",
    "````diff",
    "-old",
    "+```shell",
    "",
    "+",
    "````",
    "## 2. Another",
    "No lines.",
  ].join("\n");
  assert.deepEqual(parseEntries(document), [
    { number: 1, title: "One thing", reason: "Because of it.", lines: ["-old", "+```shell", "+"] },
    { number: 2, title: "Another", reason: "No lines.", lines: [] },
  ]);
});
