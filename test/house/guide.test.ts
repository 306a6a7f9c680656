import assert from "node:assert/strict";
import { test } from "node:test";
import { differencesOf, parseEntries } from "../../demo/guide/differences.ts";
import { isMark, parseSteps } from "../../demo/guide/steps.ts";
import { read } from "./sources.ts";

const REFERENCE = "test/fixtures/guide/vault-pki.md";
const OURS = "docs/guide.md";

const linesOf = async (path: string): Promise<string[]> => (await read(path)).split("\n");

test("guide - differs from the reference's only as docs/guide-differences.md lists, and in all of that", async () => {
  const shown = (await linesOf(OURS)).filter((line) => !isMark(line));
  const found = differencesOf(await linesOf(REFERENCE), shown);
  const listed = parseEntries(await read("docs/guide-differences.md")).flatMap(({ lines }) => lines);
  assert.deepEqual(listed.toSorted(), found.toSorted());
});

test("guide - each listed difference has its number, its reason and its lines", async () => {
  const entries = parseEntries(await read("docs/guide-differences.md"));
  assert.deepEqual(
    entries.map(({ number }) => number),
    entries.map((_, index) => index + 1),
  );
  for (const { title, reason, lines } of entries) assert.ok(reason.length > 40 && lines.length > 0, title);
});

test("guide - an unlisted change of the guide is noticed, and so is a listed one that is none", async () => {
  const reference = await linesOf(REFERENCE);
  const edited = reference.map((line) => line.replace("ttl=2400h", "ttl=24h"));
  assert.deepEqual(differencesOf(reference, edited), ["-    ttl=2400h'", "+    ttl=24h'"]);
  assert.deepEqual(parseEntries("## 1. Nothing\nFor no reason.\n```diff\n-gone\n```\n")[0]?.lines, ["-gone"]);
});

test("guide - every command of it is a step of the walk, and the fixture's scripts are the reference's", async () => {
  const steps = parseSteps(await read(OURS), OURS);
  assert.deepEqual(
    [...new Set(steps.map(({ name }) => name))],
    [
      ...["contexts", "vault-repository", "vault-root", "vault", "virtual-mesh", "apply"],
      ...["rbac", "version", "istiod", "ready", "diff"],
    ],
  );
  const reference = await read(REFERENCE);
  for (const script of ["make-root.sh", "install-vault.sh"]) {
    assert.ok(reference.includes(await read(`test/fixtures/guide/${script}`)), script);
  }
});
