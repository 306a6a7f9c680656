import assert from "node:assert/strict";
import { test } from "node:test";
import { IssuedCertificate } from "../../proto/gen/certificates/v1/certificates.ts";
import {
  ConnectResponse,
  ResourceOutcome,
  type ConnectRequest,
  type Push,
  type Status,
} from "../../proto/gen/relay/v1/relay.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Send } from "../../common/session/handlers.ts";
import {
  digestOf,
  ISSUED_CERTIFICATE,
  keyOf,
  wireResource,
  type WireResource,
} from "../../common/session/resource-set.ts";
import { LocalSessions } from "../store/local-sessions.ts";
import { Hub } from "./hub.ts";
import { IntentBook } from "./intent-book.ts";
import type { Outgoing } from "./session.ts";
import { StatusBook } from "./status-book.ts";

const resource = (name: string, org: string): WireResource => {
  const certificate = IssuedCertificate.fromPartial({ name: { namespace: "gloo-mesh", name }, hosts: [org] });
  return wireResource({ namespace: "gloo-mesh", name }, Buffer.from(IssuedCertificate.encode(certificate).finish()));
};

const setOf = (...resources: WireResource[]): Map<string, WireResource> =>
  new Map(resources.map((each) => [keyOf(each.name), each]));

function setUp({
  ready = true,
  hellosPerSecond = 100,
  revoked = new Set<string>(),
  nextEpoch = undefined as (() => Promise<bigint>) | undefined,
  roots = undefined as (() => Buffer) | undefined,
  hearsAtOnce = true,
} = {}) {
  const clock = new ManualClock(1_000_000);
  const intents = new IntentBook();
  const statuses = new StatusBook();
  let epoch = 0n;
  const sessions = new LocalSessions({ next: nextEpoch ?? (async () => ++epoch) });
  // As with an API server, where what was written is heard of later.
  if (!hearsAtOnce) sessions.onChange = () => () => undefined;
  const hub = new Hub({
    clock,
    log: silentLog,
    intents,
    statuses,
    notReady: () => (ready ? [] : ["the sources have not been read yet"]),
    isServed: (cluster) => !revoked.has(cluster),
    sessions,
    onSessionChange: () => undefined,
    heartbeatMs: 20_000,
    hellosPerSecond,
    ...(roots && { roots }),
  });
  return { hub, clock, intents, statuses, sessions };
}

/** An agent without a network: what it sends is pulled by the hub, what it gets is kept. */
class Agent {
  readonly received: NonNullable<ConnectResponse["message"]>[] = [];
  readonly ended: Promise<MeshError | undefined>;
  readonly #inbox: ConnectRequest["message"][] = [];
  readonly #changed = new Latest<number>(0);
  readonly #controller = new AbortController();
  #hasRoom = true;
  #onDrain: (() => void) | undefined;

  constructor(hub: Hub, cluster: string, held: Buffer = Buffer.alloc(0), notAfterMs = 9e9) {
    this.send({
      $case: "hello",
      value: {
        agentVersion: "1",
        instanceId: "i",
        capabilities: [],
        held: [{ type: ISSUED_CERTIFICATE, digest: held }],
      },
    });
    const now = (message: Outgoing): boolean => {
      const { message: body } = Buffer.isBuffer(message) ? ConnectResponse.decode(message) : message;
      if (body) this.received.push(body);
      this.#touch();
      return this.#hasRoom;
    };
    const send: Send<Outgoing> = Object.assign(async (message: Outgoing) => void now(message), {
      now,
      onDrain: (callback: () => void) => void (this.#onDrain = callback),
    });
    const peer = {
      identity: { kind: "cluster", name: cluster } as const,
      serial: "1",
      fingerprint: "f",
      notAfterMs,
    };
    const call = { principal: { cluster, peer }, peer: "127.0.0.1:1", signal: this.#controller.signal };
    this.ended = hub.connect(this.#requests(), send, call).then(
      () => undefined,
      (error: unknown) => MeshError.from(error),
    );
  }

  send(message: NonNullable<ConnectRequest["message"]>): void {
    this.#inbox.push(message);
    this.#touch();
  }

  leave(): void {
    this.send({ $case: "heartbeat", value: { time: undefined } });
    this.#controller.abort(new MeshError("canceled", "gone"));
  }

  stall(): void {
    this.#hasRoom = false;
  }

  resume(): void {
    this.#hasRoom = true;
    this.#onDrain?.();
  }

  /** The next message of a kind that was not taken yet. */
  async next<K extends NonNullable<ConnectResponse["message"]>["$case"]>(kind: K) {
    await this.#changed.until(() => this.received.some(({ $case }) => $case === kind), AbortSignal.timeout(10_000));
    const index = this.received.findIndex(({ $case }) => $case === kind);
    return this.received.splice(index, 1)[0] as Extract<NonNullable<ConnectResponse["message"]>, { $case: K }>;
  }

  accept(push: Push, held: ReadonlyMap<string, WireResource>): void {
    const results = push.upserts.map(({ name }) => ({
      name,
      outcome: ResourceOutcome.RESOURCE_OUTCOME_APPLIED,
      code: "",
      message: "",
      retriable: false,
      heldVersion: Buffer.alloc(0),
    }));
    const digest = digestOf(new Map([...held].map(([key, { version }]) => [key, version])));
    this.send({ $case: "result", value: { type: push.type, id: push.id, held: digest, wantWholeSet: false, results } });
  }

  async *#requests(): AsyncGenerator<ConnectRequest> {
    for (;;) {
      await this.#changed.until(() => this.#inbox.length > 0, new AbortController().signal);
      yield { message: this.#inbox.shift() };
    }
  }

  #touch(): void {
    this.#changed.set((this.#changed.value ?? 0) + 1);
  }
}

test("hub - welcomes an agent, sends its intent, then only what changes", async () => {
  const { hub, intents } = setUp();
  const first = setOf(resource("a", "1"), resource("b", "1"));
  intents.set("cluster-1", first);
  const agent = new Agent(hub, "cluster-1");
  assert.equal((await agent.next("welcome")).value.epoch, 1n);
  const push = (await agent.next("push")).value;
  assert.equal(push.upserts.length, 2);
  agent.accept(push, first);
  const second = setOf(resource("a", "1"), resource("b", "2"));
  intents.set("cluster-1", second);
  const change = (await agent.next("push")).value;
  assert.deepEqual(
    change.upserts.map(({ name }) => name?.name),
    ["b"],
  );
  agent.accept(change, second);
  agent.send({ $case: "heartbeat", value: { time: undefined } });
  agent.leave();
  assert.equal(await agent.ended, undefined);
  assert.equal(hub.agents.isConnected("cluster-1"), false);
});

test("hub - names the roots that are handed out, after the welcome and when they change", async () => {
  let roots = Buffer.from("one");
  const { hub, clock } = setUp({ roots: () => roots });
  const stop = new AbortController();
  const running = hub.run(stop.signal);
  const agent = new Agent(hub, "cluster-1");
  await agent.next("welcome");
  assert.equal((await agent.next("roots")).value.sha256.toString(), "one");
  clock.advance(5_000);
  roots = Buffer.from("two");
  clock.advance(5_000);
  assert.equal((await agent.next("roots")).value.sha256.toString(), "two");
  clock.advance(5_000);
  stop.abort();
  await running;
  await agent.next("drain");
  assert.deepEqual(
    agent.received.filter(({ $case }) => $case === "roots"),
    [],
  );
  agent.leave();
  await agent.ended;
});

test("hub - an agent that holds everything already gets a welcome and nothing else", async () => {
  const { hub, intents } = setUp();
  const set = setOf(resource("a", "1"));
  intents.set("cluster-1", set);
  const agent = new Agent(hub, "cluster-1", digestOf(new Map([...set].map(([key, { version }]) => [key, version]))));
  await agent.next("welcome");
  assert.deepEqual(agent.received, []);
  assert.deepEqual(hub.agents.view("cluster-1")?.outOfSync, []);
  agent.leave();
});

test("hub - the newest session of a cluster wins, and the end of the old one leaves it alone", async () => {
  for (const hearsAtOnce of [true, false]) {
    const { hub } = setUp({ hearsAtOnce });
    const old = new Agent(hub, "cluster-1");
    await old.next("welcome");
    const young = new Agent(hub, "cluster-1");
    const { value } = await young.next("welcome");
    const error = await old.ended;
    assert.match(error?.message ?? "", /a newer session of cluster-1 took over/);
    assert.equal(hub.agents.view("cluster-1")?.sessionId, value.sessionId);
    young.leave();
  }
});

test("hub - refuses sessions before it has read its sources, and while it drains, and says when to come back", async () => {
  const { hub } = setUp({ ready: false });
  const early = await new Agent(hub, "cluster-1").ended;
  assert.equal(early?.code, "unavailable");
  assert.ok((early.retryAfterMs ?? 0) > 0);
  const { hub: other } = setUp();
  const agent = new Agent(other, "cluster-1");
  await agent.next("welcome");
  other.drain("the server stops");
  assert.equal((await agent.next("drain")).value.reason, "the server stops");
  assert.equal((await new Agent(other, "cluster-2").ended)?.code, "unavailable");
  agent.leave();
});

test("hub - admits so many agents per second: the next ones wait for their place, later ones are told when to come", async () => {
  const { hub, clock, intents } = setUp({ hellosPerSecond: 2 });
  const agents = Array.from({ length: 14 }, (_, index) => new Agent(hub, `cluster-${index}`));
  const refused = await Promise.all(agents.slice(12).map(({ ended }) => ended));
  assert.deepEqual(
    refused.map((error) => [error?.code, error?.retryAfterMs]),
    [
      ["resource_exhausted", 5_500],
      ["resource_exhausted", 6_000],
    ],
  );
  assert.equal(hub.agents.size, 2, "ten wait");
  agents[11]?.leave();
  clock.advance(500);
  for (let index = 0; index < 40; index++) intents.set(`cluster-${index}`, setOf(resource("a", "1")));
  const third = await agents[2]?.next("welcome");
  assert.equal(third?.value.reconnectSpread?.seconds, 20n, "as long as it takes to let in all forty");
  assert.equal(hub.agents.size, 3);
  hub.drain("the server stops");
  clock.advance(4_500);
  const drained = await Promise.all(agents.slice(3, 11).map(({ ended }) => ended));
  assert.deepEqual(new Set(drained.map((error) => error?.code)), new Set(["unavailable"]));
  assert.equal((await agents[11]?.ended)?.code, "canceled");
  for (const agent of agents.slice(0, 3)) agent.leave();
});

test("hub - ends a session that is silent for three heartbeats", async () => {
  const { hub, clock } = setUp();
  const stop = new AbortController();
  const running = hub.run(stop.signal);
  const agent = new Agent(hub, "cluster-1");
  await agent.next("welcome");
  clock.advance(61_000);
  assert.match((await agent.ended)?.message ?? "", /nothing was heard of the agent/);
  stop.abort();
  await running;
});

test("hub - ends a session that lives but does not answer a push", async () => {
  const { hub, clock, intents } = setUp();
  intents.set("cluster-1", setOf(resource("a", "1")));
  const stop = new AbortController();
  const running = hub.run(stop.signal);
  const agent = new Agent(hub, "cluster-1");
  await agent.next("push");
  clock.advance(50_000);
  agent.send({ $case: "heartbeat", value: { time: new Date(clock.now()) } });
  agent.send({ $case: "status", value: { certificates: [], removals: [], whole: true, discovery: undefined } });
  await agent.next("heartbeat");
  clock.advance(15_000);
  assert.equal((await agent.ended)?.code, "deadline_exceeded");
  stop.abort();
  await running;
});

test("hub - tells how far an agent's clock is off, as its last heartbeat has it", async () => {
  const { hub, clock, sessions } = setUp();
  const agent = new Agent(hub, "cluster-1");
  await agent.next("welcome");
  agent.send({ $case: "heartbeat", value: { time: new Date(clock.now() + 90_000) } });
  agent.send({ $case: "heartbeat", value: { time: new Date(9e15) } });
  // A breach of the protocol: what came before it was taken.
  agent.send({ $case: "hello", value: { agentVersion: "1", instanceId: "i", capabilities: [], held: [] } });
  assert.equal((await agent.ended)?.code, "invalid_argument");
  assert.equal(sessions.get("cluster-1")?.clockOffsetMs, 90_000);
});

test("hub - ends a session whose agent gives signs of life and does not read", async () => {
  const { hub, clock, intents } = setUp();
  const first = setOf(resource("a", "1"));
  intents.set("cluster-1", first);
  const stop = new AbortController();
  const running = hub.run(stop.signal);
  const agent = new Agent(hub, "cluster-1");
  const push = (await agent.next("push")).value;
  agent.stall();
  clock.advance(25_000);
  agent.accept(push, first);
  await agent.next("heartbeat");
  for (let waited = 0; waited < 65_000; waited += 5_000) {
    agent.send({ $case: "heartbeat", value: { time: undefined } });
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(5_000);
  }
  assert.match((await agent.ended)?.message ?? "", /the agent has not read for 65000 ms/);
  stop.abort();
  await running;
});

test("hub - an agent that does not read holds up none of two hundred others, and is heard all the same", async () => {
  const { hub, intents, statuses } = setUp({ hellosPerSecond: 1_000 });
  const names = Array.from({ length: 200 }, (_, index) => `cluster-${index}`);
  const set = (version: string): void => {
    for (const name of names) intents.set(name, setOf(resource("a", version)));
  };
  set("1");
  const agents = names.map((name) => new Agent(hub, name));
  for (const agent of agents) agent.accept((await agent.next("push")).value, setOf(resource("a", "1")));
  const [stalled, ...others] = agents;
  stalled?.stall();
  for (const version of ["2", "3"]) {
    set(version);
    for (const agent of others) {
      agent.accept((await agent.next("push")).value, setOf(resource("a", version)));
    }
  }
  assert.ok(stalled);
  stalled.send({ $case: "status", value: { certificates: [], removals: [], whole: true, discovery: undefined } });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(statuses.wholes("cluster-0"), 1);
  assert.ok(stalled.received.filter(({ $case }) => $case === "push").length <= 1, "one push, however many changes");
  for (const agent of agents) agent.leave();
  await Promise.all(agents.map(({ ended }) => ended));
});

test("hub - a slow agent gets one merged push when it reads again", async () => {
  const { hub, intents } = setUp();
  const first = setOf(resource("a", "1"));
  intents.set("cluster-1", first);
  const agent = new Agent(hub, "cluster-1");
  const push = (await agent.next("push")).value;
  agent.stall();
  agent.accept(push, first);
  intents.set("cluster-1", setOf(resource("a", "2")));
  const second = (await agent.next("push")).value;
  for (const version of ["3", "4", "5"]) intents.set("cluster-1", setOf(resource("a", version)));
  await new Promise((resolve) => setImmediate(resolve));
  agent.accept(second, setOf(resource("a", "2")));
  agent.resume();
  const merged = (await agent.next("push")).value;
  const newest = setOf(resource("a", "5"));
  assert.deepEqual(merged.upserts[0]?.content, newest.values().next().value?.content);
  agent.accept(merged, newest);
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(!agent.received.some(({ $case }) => $case === "push"), "one push for three changes");
  agent.leave();
});

test("hub - what is taken out, wanted again and taken out at once is a removal of its own", async () => {
  const { hub, intents } = setUp();
  const [both, rest] = [setOf(resource("a", "1"), resource("b", "1")), setOf(resource("a", "1"))];
  intents.set("cluster-1", both);
  const agent = new Agent(hub, "cluster-1");
  agent.accept((await agent.next("push")).value, both);
  const remove = async (): Promise<void> => {
    intents.set("cluster-1", rest, [keyOf(resource("b", "1").name)]);
    const { value } = await agent.next("push");
    assert.deepEqual(
      value.removals.map(({ name }) => name),
      ["b"],
    );
    agent.accept(value, rest);
  };
  await remove();
  while (intents.get("cluster-1").removals.size > 0) await new Promise((resolve) => setImmediate(resolve));
  intents.set("cluster-1", both);
  await remove();
  agent.leave();
});

test("hub - status is booked under the cluster of the certificate, whatever it names", async () => {
  const { hub, statuses } = setUp();
  const agent = new Agent(hub, "cluster-1");
  await agent.next("welcome");
  const booked = new Promise((resolve) => statuses.onChange(resolve));
  const status: Status = {
    certificates: [
      {
        name: { namespace: "gloo-mesh", name: "of-cluster-2" },
        observedVersion: Buffer.alloc(0),
        state: 1,
        replicas: [],
        detached: false,
        error: undefined,
        podBounce: undefined,
      },
    ],
    removals: [],
    whole: true,
    discovery: undefined,
  };
  agent.send({ $case: "status", value: status });
  assert.equal(await booked, "cluster-1");
  assert.equal(statuses.get("cluster-1").length, 1);
  assert.deepEqual(statuses.get("cluster-2"), []);
  agent.leave();
});

test("hub - a first message that is no hello, or an answer to nothing, ends the session", async () => {
  const { hub } = setUp();
  const agent = new Agent(hub, "cluster-1");
  await agent.next("welcome");
  agent.send({
    $case: "result",
    value: { type: ISSUED_CERTIFICATE, id: 9n, held: Buffer.alloc(0), wantWholeSet: false, results: [] },
  });
  assert.equal((await agent.ended)?.code, "invalid_argument");
});

test("hub - a cluster that is revoked while its hello is awaited gets no session", async () => {
  const revoked = new Set<string>();
  const { hub } = setUp({ revoked });
  const agent = new Agent(hub, "cluster-1");
  revoked.add("cluster-1");
  assert.equal((await agent.ended)?.code, "permission_denied");
  assert.equal(hub.agents.isConnected("cluster-1"), false);
});

test("hub - a session ends with the life of its certificate", async () => {
  const { hub, clock } = setUp();
  const stop = new AbortController();
  const running = hub.run(stop.signal);
  const agent = new Agent(hub, "cluster-1", Buffer.alloc(0), clock.now() + 10_000);
  await agent.next("welcome");
  clock.advance(15_000);
  assert.equal((await agent.ended)?.code, "unauthenticated");
  stop.abort();
  await running;
});

test("hub - a session ends when one with a greater epoch has begun at another replica, and at no other time", async () => {
  const { hub, sessions } = setUp();
  const agent = new Agent(hub, "cluster-1");
  const welcome = await agent.next("welcome");
  const elsewhere = { sessionId: "elsewhere", peer: "", agentVersion: "", connectedAtMs: 0 };
  await sessions.begin({ ...elsewhere, cluster: "cluster-2" }, "other");
  assert.equal(hub.agents.isConnected("cluster-1"), true);
  const epoch = await sessions.begin({ ...elsewhere, cluster: "cluster-1" }, "other");
  assert.ok(epoch > welcome.value.epoch);
  assert.equal((await agent.ended)?.code, "canceled");
  assert.equal(hub.agents.isConnected("cluster-1"), false);
  assert.equal(sessions.isConnected("cluster-1"), true, "the end of the old one leaves the new one alone");
});

test("hub - of two sessions that begin at once the greater epoch stays, whichever is recorded first", async () => {
  const [first, second] = [Promise.withResolvers<bigint>(), Promise.withResolvers<bigint>()];
  const epochs = [first.promise, second.promise];
  const { hub, sessions } = setUp({ nextEpoch: () => epochs.shift() ?? Promise.reject(new Error("one too many")) });
  const slow = new Agent(hub, "cluster-1");
  const fast = new Agent(hub, "cluster-1");
  second.resolve(8n);
  await fast.next("welcome");
  first.resolve(7n);
  assert.equal((await slow.ended)?.code, "canceled");
  assert.equal(hub.agents.view("cluster-1")?.epoch, 8n);
  assert.equal(sessions.get("cluster-1")?.epoch, 8n);
  fast.leave();
  await fast.ended;
  assert.equal(hub.agents.isConnected("cluster-1"), false);
});
