import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "node:test";
import * as z from "zod";
import { temporaryFolder } from "../harness/folder.ts";

const BENCH = fileURLToPath(new URL("../../bench/main.ts", import.meta.url));

const positive = z.number().positive();
/** Memory of so few agents may well shrink, so only that there is a number. */
const number = z.number();
const sample = z.strictObject({ median: number, min: number, max: number, values: z.array(number).min(1) });
const report = z.strictObject({
  version: z.string(),
  startedAt: z.iso.datetime(),
  durationMs: positive,
  machine: z.strictObject({
    node: z.string(),
    platform: z.string(),
    cpu: z.string(),
    cores: positive,
    load: z.tuple([z.number(), z.number()]),
  }),
  settings: z.looseObject({ agents: z.literal(4), fileAgents: z.literal(2), repetitions: z.literal(1) }),
  figures: z.array(
    z.strictObject({
      name: z.string(),
      unit: z.string(),
      ours: sample,
      bare: sample,
      ratio: sample,
      goal: z.strictObject({ of: z.enum(["ratio", "value"]), atMost: positive }).optional(),
      met: z.boolean().optional(),
    }),
  ),
});

test("bench - a tiny run measures every part beside its bare limit and reports it as json", async () => {
  await using folder = await temporaryFolder();
  const out = folder.file("bench.json");
  const flags = ["--quick", "--agents", "4", "--file-agents", "2", "--rounds", "2", "--json", "--out", out];
  const { stdout } = await promisify(execFile)(process.execPath, [BENCH, ...flags], { timeout: 240_000 });
  const { figures } = report.parse(JSON.parse(stdout));
  assert.deepEqual(JSON.parse(await readFile(out, "utf8")), JSON.parse(stdout));
  assert.deepEqual(
    figures.filter(({ goal }) => goal).map(({ name, met }) => [name, typeof met]),
    [
      ["server CPU per push and result", "boolean"],
      ["server CPU per push and result, distinct content", "boolean"],
      ["server RSS per connected agent", "boolean"],
      ["server RSS per agent after pushes", "boolean"],
      ["server CPU per connect and first push", "boolean"],
      ["istiod-agent, CPU to ready", "boolean"],
      ["istiod-agent, idle RSS", "boolean"],
    ],
  );
});
