import assert from "node:assert/strict";
import { test } from "node:test";
import { ATTACKS } from "../flow/attacks/table.ts";
import { rowsOf, section } from "./markdown.ts";
import { read, sources } from "./sources.ts";

test("security - SECURITY.md lists the attacks that the tests try, and no other", async () => {
  const rows = rowsOf(section(await read("SECURITY.md"), "## Attacks that are tried")).slice(1);
  assert.deepEqual(
    rows.map(([attack]) => attack),
    ATTACKS.map(({ name }) => name),
  );
});

test("security - docs/failures.md has the sixteen classes, each with tests that there are", async () => {
  const code = (await sources(["{agent,common,server,test}/**/*.test.ts"])).map(({ text }) => text).join("\n");
  const tried = new Set(ATTACKS.map(({ name }) => `attacks - ${name}`));
  const rows = rowsOf(await read("docs/failures.md")).slice(1);
  assert.equal(rows.length, 16);
  for (const [failure = "", , , tests = ""] of rows) {
    const names = [...tests.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
    assert.ok(names.length > 0, failure);
    const missing = names.filter((name) => !tried.has(name) && !code.includes(`("${name}"`));
    assert.deepEqual(missing, [], failure);
  }
});
