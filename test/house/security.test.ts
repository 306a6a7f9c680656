import assert from "node:assert/strict";
import { test } from "node:test";
import { ATTACKS } from "../flow/attacks/table.ts";
import { rowsOf, section } from "./markdown.ts";
import { read } from "./sources.ts";

test("security - SECURITY.md lists the attacks that the tests try, and no other", async () => {
  const rows = rowsOf(section(await read("SECURITY.md"), "## Attacks that are tried")).slice(1);
  assert.deepEqual(
    rows.map(([attack]) => attack),
    ATTACKS.map(({ name }) => name),
  );
});
