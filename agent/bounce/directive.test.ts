import assert from "node:assert/strict";
import { test } from "node:test";
import type { Directive } from "./decide.ts";
import {
  BouncedPods,
  directiveSpec,
  directiveStatus,
  readDirective,
  reportOf,
  RESTART_ANNOTATION,
  wireStatus,
} from "./directive.ts";
import type { Group } from "./plan.ts";

const NAME = { namespace: "gloo-mesh", name: "mesh-1" };
const CAUSE = { rootSha256: "bb".repeat(32), askedMs: undefined };

const read = (asked: string | undefined, writtenAt?: string): Directive =>
  readDirective({
    ...{ apiVersion: "v1", kind: "PodBounceDirective" },
    metadata: {
      ...{ ...NAME, generation: 1 },
      ...(asked === undefined ? {} : { annotations: { [RESTART_ANNOTATION]: asked } }),
      managedFields: [
        {
          ...(writtenAt === undefined ? {} : { time: writtenAt }),
          fieldsV1: { "f:metadata": { "f:annotations": { [`f:${RESTART_ANNOTATION}`]: {} } } },
        },
      ],
    },
  });

const at = ({ request }: Directive) => request && new Date(request.cutoffMs).toISOString();

test("directive - a restart is asked for at the moment that the annotation names, or when it was written, if that is earlier", () => {
  const [early, late] = ["2026-01-01T00:00:00.700Z", "2026-01-01T00:05:00Z"];
  assert.equal(at(read(early, late)), "2026-01-01T00:00:00.000Z");
  // By the clock of who asked it is five minutes later: every replacement would be old.
  assert.equal(at(read(late, early)), "2026-01-01T00:00:00.000Z");
  assert.equal(at(read(late)), "2026-01-01T00:05:00.000Z");
  // What is recorded is what was asked for, so that who asked sees it taken up.
  const { request } = read(late, early);
  const cause = { rootSha256: undefined, askedMs: request?.askedMs };
  assert.equal(directiveSpec(NAME, cause, []).restartRequestedAt, "2026-01-01T00:05:00.000Z");
  assert.equal(at(read("soon", late)), undefined);
  assert.equal(at(read(undefined, late)), undefined);
});

const group = (index: number): Group => ({
  ...{ key: `app/Deployment/w${index}`, namespace: "app", isGateway: false, labels: { app: `w${index}` } },
  ...{ controllers: [], cutoffMs: 0, oldPods: 1 },
});

test("directive - it stays small enough for the API server, whatever the cluster has", () => {
  const groups = Array.from({ length: 20_000 }, (_, index) => group(index));
  const spec = directiveSpec(NAME, CAUSE, groups);
  const bounced = BouncedPods.of({ spec, status: undefined });
  for (const each of groups) for (let pod = 0; pod < 50; pod += 1) bounced.add(each, "w".repeat(63));
  const unmanaged = Array.from({ length: 5_000 }, (_, index) => `app/${index}`);
  const report = { ...reportOf(undefined), unmanaged };
  const directive = { ...NAME, generation: 1, spec, status: undefined, request: undefined };
  const status = directiveStatus(directive, report, bounced, 0);
  assert.ok(JSON.stringify({ spec, status }).length < 1_000_000);
  assert.deepEqual([status.unmanaged?.length, wireStatus(report).unmanaged.length], [100, 100]);
});

test("directive - names of restarted pods stand at the place of their selector, and are taken up again", () => {
  const spec = directiveSpec(NAME, CAUSE, [group(0), group(1)]);
  const bounced = BouncedPods.of({ spec, status: undefined });
  bounced.add(group(1), "w1-a");
  const status = { podsBounced: bounced.of(spec.podsToBounce ?? []) };
  assert.deepEqual(status.podsBounced, [{ bouncedPods: [] }, { bouncedPods: ["w1-a"] }]);
  const again = BouncedPods.of({ spec, status });
  again.add(group(1), "w1-b");
  again.add(group(7), "w7-a");
  assert.deepEqual(again.of(spec.podsToBounce ?? [])[1], { bouncedPods: ["w1-a", "w1-b"] });
});

test("directive - condition Finished keeps the moment of its change, and a fault is told as one", () => {
  const directive = { ...NAME, generation: 4, spec: {}, status: undefined, request: undefined };
  const report = (state: "PENDING" | "FAILED" | "FINISHED") => ({ ...reportOf(undefined), state, message: "m" });
  const first = directiveStatus(directive, report("PENDING"), new BouncedPods(), 1_000);
  const second = directiveStatus({ ...directive, status: first }, report("FAILED"), new BouncedPods(), 2_000);
  const third = directiveStatus({ ...directive, status: second }, report("FINISHED"), new BouncedPods(), 3_000);
  const conditions = [first, second, third].map(({ conditions: [each] = [] }) => [
    each?.status,
    each?.reason,
    each?.lastTransitionTime,
  ]);
  assert.deepEqual(conditions, [
    ["False", "Pending", "1970-01-01T00:00:01.000Z"],
    ["False", "Stalled", "1970-01-01T00:00:01.000Z"],
    ["True", "Restarted", "1970-01-01T00:00:03.000Z"],
  ]);
  assert.deepEqual([first.error, second.error, third.error, third.observedGeneration], [undefined, "m", undefined, 4]);
});
