import assert from "node:assert/strict";
import { test } from "node:test";
import { IssuedCertificateStatus, PodBounceState } from "../../proto/gen/certificates/v1/certificates.ts";
import { Discovery } from "../../proto/gen/discovery/v1/discovery.ts";
import { keyOf } from "../../common/session/resource-set.ts";
import { type AgentReport, StatusDiff } from "./status-diff.ts";

const NAME = { namespace: "gloo-mesh", name: "mesh" };
const certificate = IssuedCertificateStatus.fromPartial({ name: NAME });
const found = (deployment: string): Discovery =>
  Discovery.fromPartial({ meshes: [{ namespace: "istio-system", deployment }] });
const report = (changes: Partial<AgentReport> = {}): AgentReport => ({
  ...{ certificates: [certificate], podBounces: new Map(), discovery: undefined },
  ...changes,
});

test("status diff - a session is told everything once, then what changed, then nothing", () => {
  const diff = new StatusDiff();
  const first = diff.next(report({ discovery: found("istiod") }));
  assert.deepEqual([first?.whole, first?.certificates.length], [true, 1]);
  assert.equal(first?.discovery?.meshes[0]?.deployment, "istiod");
  assert.equal(diff.next(report({ discovery: found("istiod") })), undefined);
  const changed = diff.next(report({ discovery: found("istiod-canary") }));
  assert.deepEqual([changed?.whole, changed?.certificates.length], [false, 0]);
  assert.equal(changed?.discovery?.meshes[0]?.deployment, "istiod-canary");
  const gone = diff.next(report({ certificates: [], discovery: found("istiod-canary") }));
  assert.deepEqual([gone?.removals, gone?.discovery], [[NAME], undefined]);
});

test("status diff - meshes that are found late are told late, and none found is something to tell", () => {
  const diff = new StatusDiff();
  assert.equal(diff.next(report())?.discovery, undefined);
  assert.equal(diff.next(report()), undefined);
  assert.deepEqual(diff.next(report({ discovery: Discovery.create() }))?.discovery, { meshes: [] });
});

test("status diff - a restart of pods is told with its certificate", () => {
  const diff = new StatusDiff();
  diff.next(report());
  const bounce = {
    ...{ state: PodBounceState.POD_BOUNCE_STATE_BOUNCING, message: "gateways" },
    ...{ restarted: 1, remaining: 2, unmanaged: [] },
  };
  const told = diff.next(report({ podBounces: new Map([[keyOf(NAME), bounce]]) }));
  assert.deepEqual(told?.certificates[0]?.podBounce, bounce);
});
