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
  settings: z.looseObject({ agents: z.tuple([z.literal(20)]), fileAgents: z.literal(2), repetitions: z.literal(1) }),
  figures: z.array(
    z.strictObject({
      name: z.string(),
      agents: positive.optional(),
      unit: z.string(),
      ours: sample,
      bare: sample.optional(),
      ratio: sample.optional(),
      goal: z.strictObject({ of: z.enum(["ratio", "value"]), atMost: positive }).optional(),
      met: z.boolean().optional(),
    }),
  ),
});

/** The bench itself fails where a push comes out of order, a result is lost or an agent is left with something else. */
test("bench - a tiny run measures every part and reports it as json; nobody is sent more than needed", async () => {
  await using folder = await temporaryFolder();
  const out = folder.file("bench.json");
  const flags = ["--quick", "--file-agents", "2", "--rounds", "2", "--json", "--out", out];
  const { stdout } = await promisify(execFile)(process.execPath, [BENCH, ...flags], { timeout: 240_000 });
  const { figures } = report.parse(JSON.parse(stdout));
  assert.deepEqual(JSON.parse(await readFile(out, "utf8")), JSON.parse(stdout));
  assert.deepEqual(
    figures.filter(({ goal }) => goal).map(({ name }) => name),
    [
      "server CPU per connect and first push",
      "server CPU per push and result",
      "change to the last result",
      "server CPU per push and result, translated",
      "messages for one changed cluster",
      "messages for a slow agent",
      "bytes for a slow agent",
      "server memory growth per slow agent",
      "all agents back after a restart",
      "istiod-agent, CPU to ready",
      "istiod-agent, idle RSS",
    ],
  );
  const values = new Map(figures.map(({ name, ours, bare }) => [name, { ours: ours.median, bare: bare?.median ?? 0 }]));
  assert.equal(values.get("messages for one changed cluster")?.ours, 1);
  assert.equal(values.get("messages for a slow agent")?.ours, 1);
  assert.ok((values.get("messages for a slow agent")?.bare ?? 0) > 30, "the bare server keeps all pushes for it");
  assert.ok((values.get("bytes for a slow agent")?.ours ?? Infinity) < 4);
  assert.equal(figures.find(({ name }) => name === "all agents back after a restart")?.met, true);
});
