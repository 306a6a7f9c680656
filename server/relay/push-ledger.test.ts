import assert from "node:assert/strict";
import { test } from "node:test";
import { IssuedCertificate } from "../../proto/gen/certificates/v1/certificates.ts";
import { type Push, ResourceOutcome } from "../../proto/gen/relay/v1/relay.ts";
import {
  digestOf,
  ISSUED_CERTIFICATE,
  keyOf,
  wireResource,
  type WireResource,
} from "../../common/session/resource-set.ts";
import type { RelayObserver } from "./observer.ts";
import { PushLedger } from "./push-ledger.ts";
import { PushMachine } from "./push-machine.ts";
import { viewIntent } from "./views.ts";

const resource = (name: string, host: string): WireResource => {
  const certificate = IssuedCertificate.fromPartial({ name: { namespace: "gloo-mesh", name }, hosts: [host] });
  return wireResource({ namespace: "gloo-mesh", name }, Buffer.from(IssuedCertificate.encode(certificate).finish()));
};
const KEY = keyOf({ namespace: "gloo-mesh", name: "a" });

/** A machine with its ledger, and an agent that answers as it is told. */
class World {
  readonly seen: string[] = [];
  readonly ledger: PushLedger;
  readonly #held = new Map<string, string>();

  constructor() {
    const note = (name: string) => (a: unknown) => void this.seen.push(`${name} ${String(a)}`);
    const observer: RelayObserver = {
      ...{ connect: note("connect"), disconnect: note("disconnect"), push: note("push") },
      ...{ result: note("result"), mismatch: () => void this.seen.push("mismatch"), convergence: note("convergence") },
    };
    this.ledger = new PushLedger(new PushMachine(ISSUED_CERTIFICATE), observer);
  }

  want(...resources: WireResource[]): void {
    this.ledger.machine.want(desiredOf(...resources));
  }

  connect(nowMs: number): void {
    this.ledger.machine.begin(this.#held.size === 0 ? Buffer.alloc(0) : digestOf(this.#held));
    this.ledger.began(nowMs);
  }

  push(nowMs: number): Push {
    const push = this.ledger.machine.next(nowMs) ?? assert.fail("nothing to push");
    this.ledger.sent(push, 100, nowMs);
    return push;
  }

  /** The agent stores all of a push, and its answer is lost. */
  store(push: Push): void {
    for (const { name, content } of push.upserts) {
      const key = keyOf(name ?? assert.fail());
      this.#held.set(key, wireResource({ namespace: "", name: "" }, content).version);
    }
  }

  /** The agent stores all of a push, or refuses all of it. */
  answer(push: Push, nowMs: number, refusal?: { readonly code: string; readonly message: string }): void {
    if (!refusal) this.store(push);
    const results = push.upserts.map(({ name }) => {
      const key = keyOf(name ?? assert.fail());
      const outcome = ResourceOutcome[refusal ? "RESOURCE_OUTCOME_REJECTED" : "RESOURCE_OUTCOME_APPLIED"];
      const heldVersion = Buffer.from(this.#held.get(key) ?? "", "hex");
      return { name, outcome, retriable: true, heldVersion, ...(refusal ?? { code: "", message: "" }) };
    });
    this.tell(push, nowMs, { results, held: digestOf(this.#held), wantWholeSet: false });
  }

  tell(
    push: Push,
    nowMs: number,
    told: Pick<Parameters<PushLedger["answered"]>[0], "results" | "held" | "wantWholeSet">,
  ) {
    const result = { type: push.type, id: push.id, ...told };
    this.ledger.machine.result(result, nowMs);
    this.ledger.answered(result, nowMs);
  }
}

const desiredOf = (...resources: WireResource[]) => ({
  resources: new Map(resources.map((each) => [keyOf(each.name), each])),
  removals: new Set<string>(),
});

test("push ledger - knows what an agent holds while it shall hold something else, and when that was sent and answered", () => {
  const world = new World();
  const [old, next] = [resource("a", "old"), resource("a", "new")];
  world.want(old);
  world.connect(1_000);
  world.answer(world.push(2_000), 2_500);
  world.want(next);
  world.ledger.wanted(3_000);
  const { ledger } = world;
  assert.equal(ledger.content(KEY, old.version)?.version, old.version);
  assert.equal(ledger.content(KEY, next.version), undefined);

  const push = world.push(3_100);
  assert.deepEqual(ledger.delivery(KEY), { version: next.version, sentAtMs: 3_100 });
  world.answer(push, 3_400, { code: "resource_invalid", message: "no vault address" });
  const [shown] = viewIntent(desiredOf(next), ledger.machine, ledger).resources;
  assert.deepEqual(shown?.held?.certificate?.hosts, ["old"]);
  assert.equal(shown.held.version.toString("hex"), old.version);
  assert.deepEqual(
    [shown.acknowledged, shown.rejectedCode, shown.rejected, shown.refusals],
    [false, "resource_invalid", "no vault address", 1],
  );
  assert.deepEqual([shown.sentAt, shown.answeredAt], [new Date(3_100), new Date(3_400)]);
  assert.deepEqual(shown.retryAt, new Date(3_400 + 5 * 60_000));
  assert.deepEqual(ledger.lastRefusal, { text: "resource_invalid: no vault address", atMs: 3_400 });
});

test("push ledger - an agent that is away is shown by what it held last", () => {
  const world = new World();
  world.want(resource("a", "old"));
  world.connect(0);
  world.answer(world.push(0), 0);
  world.ledger.ended();
  const next = resource("a", "new");
  world.want(next);
  const [shown] = viewIntent(desiredOf(next), world.ledger.machine, world.ledger).resources;
  assert.deepEqual([shown?.held?.certificate?.hosts, shown?.sentAt], [["old"], undefined]);
});

test("push ledger - an answer that was lost with its session is taken from what the agent says at its next connect", () => {
  const world = new World();
  const wanted = resource("a", "1");
  world.want(wanted);
  world.connect(0);
  const push = world.push(10);
  world.ledger.ended();
  world.store(push);
  world.connect(500);
  assert.deepEqual(world.ledger.delivery(KEY), { version: wanted.version, sentAtMs: 10, answeredAtMs: 500 });
  assert.ok(world.ledger.isInSync);
});

test("push ledger - counts pushes, answers and refusals, and times only while the agent is connected", () => {
  const world = new World();
  world.want(resource("a", "1"));
  world.connect(1_000);
  world.answer(world.push(1_200), 1_500);
  world.ledger.ended();
  world.want(resource("a", "2"));
  world.connect(900_000);
  world.answer(world.push(900_100), 900_200, { code: "unavailable", message: "" });
  world.ledger.ended();
  world.connect(950_000);
  world.answer(world.push(2_000_000), 2_000_300);
  assert.deepEqual(world.seen, [
    ...["push difference", "result applied", "convergence 500"],
    ...["push difference", "result unavailable"],
    ...["push difference", "result applied", "convergence 1050300"],
  ]);
  const { sent, answered, acknowledged, rejected, wholeSets } = world.ledger.counts;
  assert.deepEqual(
    { sent, answered, acknowledged, rejected, wholeSets },
    { ...{ sent: 3, answered: 3 }, ...{ acknowledged: 2, rejected: 1, wholeSets: 0 } },
  );
  assert.deepEqual(world.ledger.lastPush, { bytes: 100, sentAtMs: 2_000_000, answeredAtMs: 2_000_300 });
});

test("push ledger - says why a whole set is sent", () => {
  const world = new World();
  world.want(resource("a", "1"));
  world.connect(0);
  const push = world.push(0);
  world.tell(push, 1, { results: [], held: Buffer.alloc(32), wantWholeSet: true });
  assert.match(world.ledger.wholeSetReason, /^the agent asked for it/);
  const whole = world.push(2);
  assert.equal(whole.base.length, 0);
  world.tell(whole, 3, { results: [], held: Buffer.alloc(32, 9), wantWholeSet: false });
  assert.match(world.ledger.wholeSetReason, /^the agent's digest after a push was another one/);
  assert.deepEqual(
    world.seen.filter((each) => !each.startsWith("result")),
    ["push difference", "mismatch", "push whole_set", "mismatch"],
  );
  assert.equal(world.ledger.counts.wholeSets, 1);
});

test("push ledger - an agent makes up no label values, and what it says of what was not sent to it counts for nothing", () => {
  const world = new World();
  world.want(resource("a", "1"));
  world.connect(0);
  world.answer(world.push(0), 1, { code: "x".repeat(5_000), message: "y".repeat(5_000) });
  assert.equal(world.seen.at(-1), "result other");
  assert.ok((world.ledger.lastRefusal?.text.length ?? 0) < 3_000);
  const push = world.push(3_600_000);
  const invented = {
    name: { namespace: "evil", name: "b" },
    outcome: ResourceOutcome.RESOURCE_OUTCOME_APPLIED,
    code: "",
    message: "",
    retriable: false,
  };
  const results = [{ ...invented, heldVersion: Buffer.alloc(0) }];
  world.tell(push, 3_600_001, { results, held: Buffer.alloc(32), wantWholeSet: false });
  assert.deepEqual([world.ledger.counts.acknowledged, world.ledger.delivery(keyOf(invented.name))], [0, undefined]);
});

test("push ledger - forgets what is neither held nor wanted", () => {
  const world = new World();
  for (let index = 0; index < 100; index++) {
    const each = resource(`r${index}`, "1");
    world.want(each);
    if (index === 0) world.connect(0);
    const removals = new Set(index === 0 ? [] : [keyOf({ namespace: "gloo-mesh", name: `r${index - 1}` })]);
    world.ledger.machine.want({ resources: desiredOf(each).resources, removals });
    const push = world.push(index);
    const held = new Map([[keyOf(each.name), each.version]]);
    const results = push.upserts.map(({ name }) => ({
      ...{ name, outcome: ResourceOutcome.RESOURCE_OUTCOME_APPLIED, code: "", message: "" },
      ...{ retriable: false, heldVersion: Buffer.alloc(0) },
    }));
    world.tell(push, index, { results, held: digestOf(held), wantWholeSet: false });
  }
  const known = Array.from({ length: 100 }, (_, index) => keyOf({ namespace: "gloo-mesh", name: `r${index}` }));
  assert.equal(known.filter((key) => world.ledger.delivery(key)).length, 1);
});
