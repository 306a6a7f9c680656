import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "yaml";
import { agentOptions } from "../../agent/config.ts";
import { envOf, flagOf, type Options } from "../../common/runtime/config.ts";
import { chartValues, withChartValues } from "../../scripts/chart-docs.ts";
import { serverOptions } from "../../server/config.ts";
import { read } from "./sources.ts";

const PROGRAMS: Readonly<Record<string, Options>> = {
  "enterprise-networking": serverOptions,
  "enterprise-agent": agentOptions,
};
/** Every program has these, see docs/programs.md. */
const COMMON_FLAGS = ["--log-level"];

for (const [chart, options] of Object.entries(PROGRAMS)) {
  test(`charts - ${chart} passes only settings that the program has`, async () => {
    const template = await read(`deploy/charts/${chart}/templates/deployment.yaml`);
    const passed = [...template.matchAll(/^ +- (--[a-z-]+)(?:=|$)/gm)].map(([, flag = ""]) => flag);
    const flags = new Set([...Object.values(options).map(flagOf), ...COMMON_FLAGS]);
    assert.ok(passed.includes("--kubernetes-in-cluster"));
    assert.deepEqual(
      passed.filter((flag) => !flags.has(flag)),
      [],
    );
    const variables = [...template.matchAll(/^ +- name: ([A-Z_]+)$/gm)].map(([, name = ""]) => name);
    assert.ok(variables.includes("POD_NAMESPACE") && variables.includes("POD_NAME"));
    const known = new Set(Object.values(options).map(envOf));
    assert.deepEqual(
      variables.filter((name) => !known.has(name)),
      [],
    );
  });

  test(`charts - ${chart} describes each value, and gives each a default or requires it`, async () => {
    for (const { path, description, default: standard, isRequired } of await chartValues(chart)) {
      assert.ok(description?.endsWith("."), `${path} is described by ${String(description)}`);
      assert.notEqual(standard === undefined, !isRequired, `${path} is in neither or both`);
    }
  });

  test(`charts - ${chart} has the version of the programs`, async () => {
    const { version } = JSON.parse(await read("package.json")) as { version: string };
    const about = parse(await read(`deploy/charts/${chart}/Chart.yaml`)) as Record<string, string>;
    assert.deepEqual([about["name"], about["version"], about["appVersion"]], [chart, version, version]);
  });
}

test("charts - docs/charts.md has every value as the charts have it (else: node scripts/docs.ts)", async () => {
  const text = await read("docs/charts.md");
  assert.deepEqual(text.split("\n"), (await withChartValues(text)).split("\n"));
  assert.equal([...text.matchAll(/<!-- values: /g)].length, Object.keys(PROGRAMS).length);
});
