/**
 * `npm test`: all suites, as `node --test` runs and reports them, in two parts under one report. Those on real
 * Kubernetes clusters come last and one after the other: they share the clusters, and these need the machine.
 */
import { once } from "node:events";
import { Readable } from "node:stream";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fleetDown } from "./clusters/fleet.ts";
import { downWhenWeEnd } from "./clusters/keeper.ts";
import { missingForClusters } from "./clusters/needs.ts";
import { FLEET_VARIABLE } from "./clusters/suite.ts";
import { Totals, type RunnerEvent } from "./totals.ts";

const SIDE_BY_SIDE = [
  "{common,server,agent,istiod-agent,cli,dev-vault,demo,scripts,bench}/**/*.test.ts",
  "test/!(clusters)/**/*.test.ts",
  "test/clusters/*/**/*.test.ts",
  "test/*.test.ts",
];
const ON_CLUSTERS = ["test/clusters/*.test.ts"];

const totals = new Totals();

async function* allSuites(): AsyncGenerator<RunnerEvent> {
  yield* totals.without(run({ globPatterns: SIDE_BY_SIDE, concurrency: true, timeout: 300_000 }));
  yield* totals.without(run({ globPatterns: ON_CLUSTERS, concurrency: 1, timeout: 900_000 }));
  yield* totals.events();
}

/** The clusters are brought up by the first suite that needs them, and taken down here. */
const fleet = `test-${process.pid}`;
process.env[FLEET_VARIABLE] = fleet;
const keeper = missingForClusters() === undefined ? await downWhenWeEnd(fleet) : undefined;
const report = Readable.from(allSuites()).pipe(new spec());
report.pipe(process.stdout);
await once(report, "end");
process.exitCode = totals.failed ? 1 : 0;
await fleetDown(fleet);
await keeper?.[Symbol.asyncDispose]();
