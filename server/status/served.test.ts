import assert from "node:assert/strict";
import { test } from "node:test";
import { describeProblems } from "./served.ts";

test("served status - a problem of the sources has its place, as far as that is known, and its path", () => {
  const problem = { code: "resource_invalid", path: "spec.foo", message: "unknown field" } as const;
  const told = describeProblems(
    [{ ...problem, file: "mesh.yaml", line: 7, column: 3 }, problem],
    [{ file: "other.yaml", message: "cannot be read" }],
  );
  assert.deepEqual(told, [
    "mesh.yaml:7:3: spec.foo: unknown field",
    "spec.foo: unknown field",
    "other.yaml: cannot be read",
  ]);
});
