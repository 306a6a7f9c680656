import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decide, type Situation } from "./decide.ts";

const time = fc.integer({ min: 0, max: 20 });
const request = fc.constantFrom("a", "b");
const version = fc.constantFrom("1", "2");
const situation: fc.Arbitrary<Situation> = fc.record({
  nowMs: time,
  wanted: fc.option(fc.record({ version, request }), { nil: undefined }),
  held: fc.option(
    fc.record({
      request: fc.option(request, { nil: undefined }),
      renewAtMs: time,
      proveAtMs: fc.option(time, { nil: undefined }),
    }),
    { nil: undefined },
  ),
  failed: fc.option(fc.record({ version, retryAtMs: time }), { nil: undefined }),
});

test("keeper decision - a CA is obtained exactly when one is wanted, due, and no failure of this order forbids it", () => {
  fc.assert(
    fc.property(situation, (at) => {
      const { nowMs, wanted, held, failed } = at;
      const due = !held || (held.request ?? wanted?.request) !== wanted?.request || held.renewAtMs <= nowMs;
      const barred = failed !== undefined && failed.version === wanted?.version && failed.retryAtMs > nowMs;
      assert.equal(decide(at).kind === "issue", wanted !== undefined && due && !barred);
    }),
  );
});

test("keeper decision - a wait ends in the future, at the first moment at which there is something to do", () => {
  fc.assert(
    fc.property(situation, (at) => {
      const action = decide(at);
      if (action.kind !== "wait") return;
      assert.ok(action.untilMs > at.nowMs);
      const next = Array.from({ length: 40 }, (_, ms) => ms).find((ms) => {
        return ms > at.nowMs && decide({ ...at, nowMs: ms }).kind !== "wait";
      });
      assert.equal(action.untilMs, next ?? Infinity);
    }),
  );
});

test("keeper decision - without an order istiod is still asked for the proof, and while vault fails too", () => {
  const held = { request: "a", renewAtMs: 0, proveAtMs: 5 };
  assert.deepEqual(decide({ nowMs: 5, wanted: undefined, held, failed: undefined }), { kind: "prove" });
  const wanted = { version: "1", request: "a" };
  const failed = { version: "1", retryAtMs: 9 };
  assert.deepEqual(decide({ nowMs: 5, wanted, held, failed }), { kind: "prove" });
  assert.deepEqual(decide({ nowMs: 9, wanted, held, failed }), { kind: "issue", cause: "renewal" });
});

test("keeper decision - says why a CA is obtained", () => {
  const base = { nowMs: 5, failed: undefined, wanted: { version: "1", request: "a" } };
  const held = { request: "a", renewAtMs: 9, proveAtMs: undefined };
  assert.deepEqual(decide({ ...base, held: undefined }), { kind: "issue", cause: "first" });
  assert.deepEqual(decide({ ...base, held: { ...held, request: "b" } }), { kind: "issue", cause: "changed" });
  assert.deepEqual(decide({ ...base, held: { ...held, request: undefined } }), { kind: "wait", untilMs: 9 });
});
