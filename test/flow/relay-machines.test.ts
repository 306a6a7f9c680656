import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { applyPush, heldDigest, NOTHING_HELD, type Held, type Validate } from "../../agent/apply/apply-machine.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { ISSUED_CERTIFICATE, keyOf, wireResource, type WireResource } from "../../common/session/resource-set.ts";
import { PushMachine, type Desired } from "../../server/relay/push-machine.ts";

const resource = (name: string, content: string): WireResource =>
  wireResource({ namespace: "gloo-mesh", name }, Buffer.from(content));

function desired(entries: Readonly<Record<string, string>>, removals: readonly string[] = []): Desired {
  const resources = Object.entries(entries).map(([name, content]) => resource(name, content));
  return {
    resources: new Map(resources.map((each) => [keyOf(each.name), each])),
    removals: new Set(removals.map((name) => keyOf({ namespace: "gloo-mesh", name }))),
  };
}

/** Contents that start with "bad" are refused for good, those that start with "later" for now. */
const validate: Validate = ({ content }) => {
  const text = content.toString();
  if (text.startsWith("bad")) throw new MeshError("resource_invalid", "bad content");
  if (text.startsWith("later")) throw new MeshError("unavailable", "not now");
};

/** Runs server and agent against each other until the server has nothing to send. */
function exchange(machine: PushMachine, held: Held, nowMs: number): { held: Held; pushes: number } {
  let pushes = 0;
  for (let push = machine.next(nowMs); push; push = machine.next(nowMs)) {
    assert.ok(++pushes < 20, "the exchange does not end");
    const { result, next } = applyPush(held, push, validate);
    held = next ?? held;
    machine.result(result, nowMs);
  }
  return { held, pushes };
}

const names = (held: ReadonlyMap<string, unknown>): string[] =>
  [...held.keys()].map((key) => key.split("\0")[1] ?? "").sort();

test("relay machines - an empty agent gets the whole set, an equal one nothing", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  machine.want(desired({ a: "1", b: "2" }));
  machine.begin(Buffer.alloc(0));
  const { held, pushes } = exchange(machine, NOTHING_HELD, 0);
  assert.equal(pushes, 1);
  assert.deepEqual(names(held.managed), ["a", "b"]);
  assert.ok(machine.inSync);

  const restarted = new PushMachine(ISSUED_CERTIFICATE);
  restarted.want(desired({ a: "1", b: "2" }));
  restarted.begin(heldDigest(held));
  assert.equal(restarted.next(0), undefined);
});

test("relay machines - a change sends what changed and nothing else", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  machine.want(desired({ a: "1", b: "2" }));
  machine.begin(Buffer.alloc(0));
  const { held } = exchange(machine, NOTHING_HELD, 0);
  machine.want(desired({ a: "1", b: "3" }));
  const push = machine.next(0);
  assert.ok(push);
  assert.deepEqual(
    push.upserts.map(({ name }) => name?.name),
    ["b"],
  );
  assert.deepEqual(push.base, heldDigest(held));
});

test("relay machines - changes while a push is in flight become one further push", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  machine.want(desired({ a: "1" }));
  machine.begin(Buffer.alloc(0));
  const first = machine.next(0);
  assert.ok(first);
  for (const content of ["2", "3", "4"]) machine.want(desired({ a: content }));
  assert.equal(machine.next(0), undefined);
  const { result, next } = applyPush(NOTHING_HELD, first, validate);
  machine.result(result, 0);
  const second = machine.next(0);
  assert.equal(second?.upserts[0]?.content.toString(), "4");
  assert.equal(next?.managed.size, 1);
});

test("relay machines - an empty or restored server removes nothing", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  machine.want(desired({ a: "1", b: "2" }));
  machine.begin(Buffer.alloc(0));
  const before = exchange(machine, NOTHING_HELD, 0).held;

  const restored = new PushMachine(ISSUED_CERTIFICATE);
  restored.begin(heldDigest(before));
  const after = exchange(restored, before, 0).held;
  assert.deepEqual(names(after.detached), ["a", "b"]);
  assert.ok([...after.detached.values()].every(({ removed }) => !removed));
  assert.ok(restored.inSync);
});

test("relay machines - a removal on purpose is acknowledged and marked as such", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  machine.want(desired({ a: "1", b: "2" }));
  machine.begin(Buffer.alloc(0));
  const before = exchange(machine, NOTHING_HELD, 0).held;
  machine.want(desired({ a: "1" }, ["b"]));
  const { held } = exchange(machine, before, 0);
  assert.deepEqual(names(held.managed), ["a"]);
  assert.equal(held.detached.get(keyOf({ namespace: "gloo-mesh", name: "b" }))?.removed, true);
  assert.equal(machine.acknowledgedRemovals.size, 1);
});

test("relay machines - a refused version is sent once, the one before stays in force, others are not held up", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  machine.want(desired({ a: "1", b: "1" }));
  machine.begin(Buffer.alloc(0));
  let { held } = exchange(machine, NOTHING_HELD, 0);
  machine.want(desired({ a: "bad", b: "2" }));
  const second = exchange(machine, held, 0);
  held = second.held;
  assert.equal(second.pushes, 1);
  assert.equal(held.managed.get(keyOf({ namespace: "gloo-mesh", name: "a" }))?.content.toString(), "1");
  assert.equal(held.managed.get(keyOf({ namespace: "gloo-mesh", name: "b" }))?.content.toString(), "2");
  machine.begin(heldDigest(held));
  assert.equal(machine.next(Number.MAX_SAFE_INTEGER), undefined, "not even after a reconnect");
  machine.want(desired({ a: "3", b: "2" }));
  assert.equal(exchange(machine, held, 0).pushes, 1);
  assert.ok(machine.inSync);
});

test("relay machines - a retriable refusal is tried again when its time has come", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE, { baseMs: 1000, capMs: 4000 });
  machine.want(desired({ a: "later" }));
  machine.begin(Buffer.alloc(0));
  const { held } = exchange(machine, NOTHING_HELD, 0);
  assert.equal(machine.retryAtMs(), 1000);
  assert.equal(machine.next(999), undefined);
  exchange(machine, held, 1000);
  assert.equal(machine.retryAtMs(), 3000);
});

test("relay machines - a forged or cut push is not applied", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  machine.want(desired({ a: "1", b: "2" }));
  machine.begin(Buffer.alloc(0));
  const push = machine.next(0);
  assert.ok(push);
  const { result, next } = applyPush(NOTHING_HELD, { ...push, upserts: push.upserts.slice(1) }, validate);
  assert.equal(next, undefined);
  assert.equal(result.wantWholeSet, true);
});

test("relay machines - an answer to nothing that was asked is refused", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  machine.begin(Buffer.alloc(0));
  const answer = { type: ISSUED_CERTIFICATE, id: 7n, held: Buffer.alloc(0), wantWholeSet: false, results: [] };
  assert.throws(() => machine.result(answer, 0), { code: "invalid_argument" });
});

const edit = fc.oneof(
  fc.record({
    kind: fc.constant("set" as const),
    name: fc.constantFrom("a", "b", "c"),
    content: fc.constantFrom("1", "2", "bad1", "later1"),
  }),
  fc.record({ kind: fc.constant("remove" as const), name: fc.constantFrom("a", "b", "c") }),
  fc.record({
    kind: fc.constantFrom("exchange" as const, "cut" as const, "server restart" as const, "lost result" as const),
  }),
);

test("relay machines - any schedule of edits, cuts and restarts ends in agreement, and nothing is lost by absence", () => {
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 30 }), (edits) => {
      let machine = new PushMachine(ISSUED_CERTIFICATE, { baseMs: 1, capMs: 1 });
      let held = NOTHING_HELD;
      let want: Record<string, string> = {};
      const removed = new Set<string>();
      const reconnect = (): void => machine.begin(heldDigest(held));
      machine.begin(Buffer.alloc(0));
      for (const [index, each] of edits.entries()) {
        if (each.kind === "set") {
          want = { ...want, [each.name]: each.content };
          removed.delete(each.name);
        }
        if (each.kind === "remove" && each.name in want) {
          const { [each.name]: _, ...rest } = want;
          want = rest;
          removed.add(each.name);
        }
        machine.want(desired(want, [...removed]));
        if (each.kind === "exchange") held = exchange(machine, held, index).held;
        if (each.kind === "cut") reconnect();
        if (each.kind === "lost result") {
          const push = machine.next(index);
          if (push) held = applyPush(held, push, validate).next ?? held;
          reconnect();
        }
        if (each.kind === "server restart") {
          machine = new PushMachine(ISSUED_CERTIFICATE, { baseMs: 1, capMs: 1 });
          machine.want(desired(want, [...removed]));
          reconnect();
        }
      }
      reconnect();
      held = exchange(machine, held, 1e6).held;
      for (const [name, content] of Object.entries(want)) {
        const key = keyOf({ namespace: "gloo-mesh", name });
        if (!content.startsWith("bad") && !content.startsWith("later")) {
          assert.equal(held.managed.get(key)?.content.toString(), content);
        }
      }
      for (const key of held.managed.keys()) assert.ok((key.split("\0")[1] ?? "") in want, "holds what is not wanted");
    }),
    { numRuns: 2000 },
  );
});
