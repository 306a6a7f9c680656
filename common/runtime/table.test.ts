import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { formatTable } from "./table.ts";

const rows = [
  ["cluster-1", { text: "yes", style: "green" }, "fine"],
  ["c2", { text: "no", style: "red" }],
] as const;

describe("table", () => {
  test("table - aligns columns and ends no line in blanks", () => {
    assert.equal(
      formatTable(["CLUSTER", "UP", "NOTE"], rows, new PassThrough()),
      ["CLUSTER    UP   NOTE", "cluster-1  yes  fine", "c2         no"].join("\n"),
    );
  });

  test("table - is as wide with styles as without", () => {
    const terminal = Object.assign(new PassThrough(), { isTTY: true, getColorDepth: () => 4 });
    const styled = formatTable(["CLUSTER", "UP", "NOTE"], rows, terminal);
    assert.match(styled, /\u001b\[32myes\u001b\[39m {2}fine/);
  });

  test("table - what another program sent cannot drive the terminal", () => {
    const hostile = "v1\u001b[2J\u001b]0;owned\u0007\u009b31m\r\nnext";
    const text = formatTable(["VERSION"], [[hostile]], new PassThrough());
    assert.match(text, /^VERSION\nv1.*next$/);
    assert.doesNotMatch(text, new RegExp("[\\u0000-\\u0009\\u000b-\\u001f\\u007f-\\u009f]"));
  });
});
