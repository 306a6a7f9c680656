import assert from "node:assert/strict";
import { test } from "node:test";
import { isApplied } from "./facts.ts";

test("facts - a cluster has applied what both its session and its report speak of, where they are known", () => {
  assert.equal(isApplied(undefined, [undefined, undefined]), true, "nothing is wanted");
  assert.equal(isApplied("new", [undefined, undefined]), false, "nobody has said anything");
  assert.equal(isApplied("new", ["new", undefined]), true, "acknowledged, no report yet");
  assert.equal(isApplied("new", [undefined, "new"]), true, "reported before a restart of the server");
  assert.equal(isApplied("new", ["new", "old"]), false, "acknowledged, but the report is of the intent before");
  assert.equal(isApplied("new", ["old", "new"]), false);
});
