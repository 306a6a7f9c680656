import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { HINTS } from "./hints.ts";
import { planWalk } from "./plan.ts";
import { parseSteps } from "./steps.ts";
import { readSteps } from "./walk.ts";

const GUIDE = "docs/guide.md";
const steps = parseSteps(await readFile(join(import.meta.dirname, "../..", GUIDE), "utf8"), GUIDE).map((step) => ({
  ...step,
  path: GUIDE,
}));
const names = (planned: readonly { readonly name: string }[]): string[] => planned.map(({ name }) => name);

test("guide plan - one tab, from one step until another, and nothing that is given", () => {
  const part = planWalk(steps, { from: "version", until: "istiod", tab: "kind" }, {});
  assert.deepEqual(names(part), ["version", "istiod"]);
  assert.match(part[1]?.text ?? "", /^kubectl --context="\$\{cluster\}" patch/m);
  assert.ok(!names(planWalk(steps, { tab: "standard" }, {})).includes("contexts"));
  assert.throws(() => planWalk(steps, { from: "istio", tab: "kind" }, {}), { code: "invalid_argument" });
});

test("guide plan - a manifest stands in for Vault's chart, and for nothing else of the guide", () => {
  const asPrinted = planWalk(steps, { tab: "standard" }, {});
  const changed = planWalk(steps, { tab: "standard" }, { vaultManifest: "/vault.yaml" });
  assert.deepEqual(
    names(asPrinted).filter((name) => name !== "vault-repository"),
    names(changed),
  );
  const lines = changed.flatMap(({ text }) => text.split("\n"));
  const printed = asPrinted.flatMap(({ text }) => text.split("\n"));
  assert.deepEqual(
    lines.filter((line) => !printed.includes(line)),
    [`  kubectl --context="\${cluster}" apply --server-side --force-conflicts -f '/vault.yaml'`],
  );
  assert.deepEqual(
    changed.filter(({ instead }) => instead !== undefined).map(({ name }) => name),
    ["vault"],
  );
});

test("guide plan - every hint is one of a step that there is", async () => {
  const all = names(await readSteps());
  for (const name of Object.keys(HINTS)) assert.ok(all.includes(name), name);
});
