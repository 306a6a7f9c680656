import assert from "node:assert/strict";
import { test } from "node:test";
import type { PodBounceState } from "../../common/api/pod-bounce.ts";
import { decide, type Directive, type Wish } from "./decide.ts";

const OLD = "aa".repeat(32);
const NEW = "bb".repeat(32);
const ASKED = "2026-01-01T00:00:00.700Z";
const ASKED_MS = Date.parse(ASKED);
const CUTOFF_MS = Date.parse("2026-01-01T00:00:00Z");

interface Given {
  readonly root?: string;
  readonly recordedAt?: string;
  readonly askedMs?: number;
  readonly state?: PodBounceState;
  readonly observed?: number;
}

const directive = ({ root, recordedAt, askedMs, state, observed = 3 }: Given): Directive => ({
  ...{ namespace: "gloo-mesh", name: "mesh-1", generation: 3 },
  request: askedMs === undefined ? undefined : { askedMs, cutoffMs: CUTOFF_MS },
  spec: { ...(root && { rootSha256: root }), ...(recordedAt && { restartRequestedAt: recordedAt }) },
  status: state && { state, observedGeneration: observed },
});

const wish = (isAutomatic: boolean, sha256?: string): Wish => ({
  isAutomatic,
  root: sha256 === undefined ? { unknown: "waits until an istiod is linked" } : { sha256 },
});

const go = (rootSha256: string | undefined, askedMs: number | undefined, reason: object) => ({
  ...{ kind: "go", cause: { rootSha256, askedMs } },
  reason: {
    ...{ changedRoot: undefined, neededRoot: undefined, ...reason },
    requestedMs: askedMs === undefined ? undefined : CUTOFF_MS,
  },
});

test("restart decision - automatic: a root that no restart finished for is a change, at adoption as well", () => {
  const changed = { changedRoot: NEW, neededRoot: NEW };
  assert.deepEqual(decide(wish(true, NEW), undefined), go(NEW, undefined, changed));
  assert.deepEqual(decide(wish(true, NEW), directive({ root: OLD, state: "FINISHED" })), go(NEW, undefined, changed));
  assert.deepEqual(
    decide(wish(true, NEW), directive({ root: NEW, state: "BOUNCING_PODS" })),
    go(NEW, undefined, changed),
  );
  assert.deepEqual(decide(wish(true, NEW), directive({ root: NEW, state: "FAILED" })), go(NEW, undefined, changed));
  // What was finished before the spec was written speaks of another restart.
  assert.deepEqual(
    decide(wish(true, NEW), directive({ root: NEW, state: "FINISHED", observed: 2 })),
    go(NEW, undefined, changed),
  );
});

test("restart decision - automatic: under the root that is done nothing happens, also while no istiod tells it", () => {
  const done = directive({ root: NEW, state: "FINISHED" });
  assert.deepEqual(decide(wish(true, NEW), done), { kind: "done" });
  assert.deepEqual(decide(wish(true), done), { kind: "done" });
});

test("restart decision - automatic: without a known root it waits and says for what, or goes on with what was begun", () => {
  assert.deepEqual(decide(wish(true), undefined), { kind: "wait", why: "waits until an istiod is linked" });
  const begun = directive({ root: NEW, state: "BOUNCING_PODS" });
  assert.deepEqual(decide(wish(true), begun), go(NEW, undefined, { changedRoot: NEW, neededRoot: NEW }));
});

test("restart decision - not automatic: a changed root restarts nothing, and a root that was left is forgotten", () => {
  assert.deepEqual(decide(wish(false, NEW), undefined), { kind: "none" });
  const off = (rootSha256: string | undefined) => ({ kind: "off", cause: { rootSha256, askedMs: undefined } });
  assert.deepEqual(decide(wish(false, NEW), directive({ root: OLD, state: "FINISHED" })), off(undefined));
  assert.deepEqual(decide(wish(false, NEW), directive({ root: NEW, state: "BOUNCING_PODS" })), off(NEW));
  assert.deepEqual(decide(wish(false), directive({ root: OLD, state: "PENDING" })), off(OLD));
});

test("restart decision - what somebody asked for is done once, automatic or not, and needs the root where it is known", () => {
  const asked = directive({ askedMs: ASKED_MS });
  assert.deepEqual(decide(wish(false), asked), go(undefined, ASKED_MS, {}));
  assert.deepEqual(decide(wish(false, NEW), asked), go(undefined, ASKED_MS, { neededRoot: NEW }));
  assert.deepEqual(decide(wish(true), asked), go(undefined, ASKED_MS, {}));
  const done = { root: NEW, recordedAt: ASKED, askedMs: ASKED_MS, state: "FINISHED" } as const;
  for (const automatic of [true, false]) {
    assert.deepEqual(decide(wish(automatic, NEW), directive(done)), { kind: "done" });
    const again = decide(wish(automatic, NEW), directive({ ...done, askedMs: ASKED_MS + 1000 }));
    assert.equal(again.kind, "go");
  }
});
