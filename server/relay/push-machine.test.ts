import assert from "node:assert/strict";
import { test } from "node:test";
import { ResourceOutcome } from "../../proto/gen/relay/v1/relay.ts";
import { digestOf, ISSUED_CERTIFICATE, keyOf, nameOf, wireResource } from "../../common/session/resource-set.ts";
import { PushMachine } from "./push-machine.ts";

test("push machine - an agent is believed of what was pushed to it, and of nothing else that it names", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  const wanted = wireResource({ namespace: "gloo-mesh", name: "wanted" }, Buffer.from("content"));
  machine.want({ resources: new Map([[keyOf(wanted.name), wanted]]), removals: new Set() });
  machine.begin(Buffer.alloc(0));
  const push = machine.next(0);
  assert.ok(push);
  const invented = Array.from({ length: 100 }, (_, index) => keyOf({ namespace: "evil", name: `${index}` }));
  const refusal = { outcome: ResourceOutcome.RESOURCE_OUTCOME_REJECTED, code: "", message: "", retriable: true };
  machine.result(
    {
      ...{ type: push.type, id: push.id, wantWholeSet: false },
      results: invented.map((key) => ({ ...refusal, name: nameOf(key), heldVersion: Buffer.alloc(32, 1) })),
      held: digestOf(new Map([...invented, keyOf(wanted.name)].map((key) => [key, "01".repeat(32)]))),
    },
    0,
  );
  assert.equal(machine.held, undefined);
  assert.equal(machine.parked.size, 0);

  const whole = machine.next(0);
  assert.equal(whole?.base.length, 0, "the whole set is sent anew");
  machine.result({ type: push.type, id: whole.id, wantWholeSet: false, results: [], held: Buffer.alloc(32) }, 0);
  assert.equal(machine.next(1_000), undefined, "and not for ever");
  assert.equal(machine.next(machine.retryAtMs() ?? 0)?.base.length, 0);
});

test("push machine - a refusal holds up what was refused, and not what has replaced it meanwhile", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  const name = { namespace: "gloo-mesh", name: "wanted" };
  const [bad, good] = [wireResource(name, Buffer.from("bad")), wireResource(name, Buffer.from("good"))];
  const want = (resource: typeof bad): void =>
    machine.want({ resources: new Map([[keyOf(name), resource]]), removals: new Set() });
  want(bad);
  machine.begin(Buffer.alloc(0));
  const push = machine.next(0);
  assert.ok(push);
  want(good);
  const refusal = {
    ...{ name, outcome: ResourceOutcome.RESOURCE_OUTCOME_REJECTED, code: "resource_invalid", message: "bad" },
    ...{ retriable: false, heldVersion: Buffer.alloc(0) },
  };
  const held = digestOf(new Map());
  machine.result({ type: push.type, id: push.id, wantWholeSet: false, results: [refusal], held }, 0);
  assert.equal(machine.parked.size, 0);
  assert.deepEqual(machine.next(0)?.upserts[0]?.content, good.content);
});

test("push machine - what an agent refused is asked of it again when it has another version, and at no other session", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  const name = { namespace: "gloo-mesh", name: "wanted" };
  const wanted = wireResource(name, Buffer.from("too new"));
  const nothing = digestOf(new Map());
  const refuse = (id: bigint): void => {
    const refusal = {
      ...{ name, outcome: ResourceOutcome.RESOURCE_OUTCOME_REJECTED, code: "resource_invalid", message: "unknown" },
      ...{ retriable: false, heldVersion: Buffer.alloc(0) },
    };
    machine.result({ type: ISSUED_CERTIFICATE, id, wantWholeSet: false, results: [refusal], held: nothing }, 0);
  };
  machine.want({ resources: new Map([[keyOf(name), wanted]]), removals: new Set() });
  machine.begin(Buffer.alloc(0), "1.0.0");
  refuse(machine.next(0)?.id ?? 0n);
  machine.begin(nothing, "1.0.0");
  assert.equal(machine.next(0), undefined);
  machine.begin(nothing, "1.1.0");
  assert.equal(machine.next(0)?.upserts.length, 1);
});

test("push machine - what an agent refused here and took from another replica counts for refused no more", () => {
  const machine = new PushMachine(ISSUED_CERTIFICATE);
  const [name, other] = [
    { namespace: "gloo-mesh", name: "wanted" },
    { namespace: "gloo-mesh", name: "other" },
  ];
  const [wanted, never] = [wireResource(name, Buffer.from("later")), wireResource(other, Buffer.from("never"))];
  const keyed = [wanted, never].map((each) => [keyOf(each.name), each] as const);
  machine.want({ resources: new Map(keyed), removals: new Set() });
  machine.begin(Buffer.alloc(0));
  const refusal = { outcome: ResourceOutcome.RESOURCE_OUTCOME_REJECTED, code: "unavailable", message: "away" };
  const results = [name, other].map((each) => ({
    ...{ ...refusal, name: each, retriable: true, heldVersion: Buffer.alloc(0) },
  }));
  const push = machine.next(0);
  assert.ok(push);
  machine.result({ type: push.type, id: push.id, wantWholeSet: false, results, held: digestOf(new Map()) }, 0);
  assert.equal(machine.parked.size, 2);
  machine.begin(digestOf(new Map()));
  assert.equal(machine.parked.size, 2, "a new session with what it held before changes nothing");
  machine.begin(digestOf(new Map([wanted, never].map((each) => [keyOf(each.name), each.version]))));
  assert.deepEqual([machine.parked.size, machine.inSync, machine.next(0)], [0, true, undefined]);
});
