import assert from "node:assert/strict";
import { test } from "node:test";
import { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { ConnectRequest, ConnectResponse } from "../../proto/gen/relay/v1/relay.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { type Log, silentLog } from "../../common/runtime/log.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { IntentHolder } from "../apply/intent-holder.ts";
import { NOTHING_HELD } from "../apply/apply-machine.ts";
import { digestOf, ISSUED_CERTIFICATE } from "../../common/session/resource-set.ts";
import type { RelayChannel } from "./relay-channel.ts";
import { RelayClient } from "./relay-client.ts";

/** A server that answers each hello with the same messages and is silent from then on. */
class SilentServer {
  readonly dials = new Latest<number>(0);
  /** What the agent wrote. */
  readonly written: ConnectRequest[] = [];
  /** Whether it takes what is written to it. */
  isReading = true;
  /** Whether nobody listens. */
  isAway = false;
  readonly #messages: readonly ConnectResponse[];

  constructor(...messages: readonly NonNullable<ConnectResponse["message"]>[]) {
    this.#messages = messages.map((message) => ({ message }));
  }

  dial(): RelayChannel {
    this.dials.set((this.dials.value ?? 0) + 1);
    const messages = this.#messages;
    const { isAway } = this;
    return {
      connect: (signal) => ({
        messages: async function* () {
          if (isAway) throw new MeshError("unavailable", "connection refused");
          yield* messages;
          await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
        },
        write: (message) => {
          this.written.push(message);
          return this.isReading;
        },
        drained: (stopped) => (this.isReading ? Promise.resolve() : never(stopped)),
      }),
      renew: () => Promise.reject(new Error("not asked here")),
      close: () => undefined,
    };
  }
}

const never = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));

async function setUp(server: SilentServer, log: Log = silentLog) {
  const clock = new ManualClock(1_000_000);
  const statuses = new Latest<readonly IssuedCertificateStatus[]>([]);
  const stop = new AbortController();
  const store = {
    ...{ certificates: new Latest<never[]>([]), load: () => Promise.resolve(NOTHING_HELD) },
    ...{ save: () => Promise.resolve(new Map<string, never>()), guard: () => Promise.resolve() },
  };
  const credentials = {
    ...{ keyPem: "", certificatePem: "", trustBundlePem: "", cluster: "cluster-1", serial: "1" },
    ...{ notBeforeMs: 0, notAfterMs: 9e15 },
  };
  const reconnects: string[] = [];
  const client = new RelayClient({
    observer: { reconnect: (reason) => void reconnects.push(reason), applied: () => undefined },
    ...{ clock, random: () => 0.999, log, dial: () => server.dial() },
    identity: {
      current: () => credentials,
      confirm: () => Promise.resolve(),
      refused: () => Promise.resolve(false),
      heardRoots: () => undefined,
    },
    intent: await IntentHolder.open(store, stop.signal),
    report: { statuses, podBounces: new Latest(new Map()), discovery: new Latest() },
  });
  const running = client.run(stop.signal);
  await new Promise((resolve) => setImmediate(resolve));
  /** Lets so much time pass, in steps that everybody notices. */
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 1_000) {
      clock.advance(Math.min(1_000, left));
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const end = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  return { client, reconnects, statuses, pass, end };
}

const welcome = (heartbeatSeconds: bigint): NonNullable<ConnectResponse["message"]> => ({
  $case: "welcome",
  value: {
    ...{ sessionId: "s", epoch: 1n, serverTime: new Date(0), serverVersion: "1", capabilities: [] },
    ...{ heartbeatInterval: { seconds: heartbeatSeconds, nanos: 0 }, reconnectSpread: undefined },
  },
});

const drain = (seconds: bigint): NonNullable<ConnectResponse["message"]> => ({
  $case: "drain",
  value: { reason: "the server stops", within: { seconds, nanos: 0 } },
});

test("relay client - gives up a server that takes the hello and does not greet", async () => {
  const server = new SilentServer();
  const { client, reconnects, pass, end } = await setUp(server);
  await pass(50_000);
  assert.equal(server.dials.value, 2);
  assert.deepEqual(reconnects, ["unavailable"]);
  const state = client.state.value;
  assert.match(
    (state?.kind === "offline" && state.error?.message) || "",
    /nothing was heard of the server for 40000 ms/,
  );
  await end();
});

test("relay client - calls itself the same in each session, and another client by another name", async () => {
  const names: (string | undefined)[][] = [];
  for (const _ of ["one leader", "the next"]) {
    const server = new SilentServer();
    const { pass, end } = await setUp(server);
    await pass(50_000);
    await end();
    names.push(
      server.written.map(({ message }) => (message?.$case === "hello" ? message.value.instanceId : undefined)),
    );
  }
  assert.deepEqual(
    names.map((each) => [each.length, new Set(each).size]),
    [
      [2, 1],
      [2, 1],
    ],
  );
  assert.equal(new Set(names.flat()).size, 2);
});

test("relay client - gives up a silent server after three heartbeats, and after three minutes whatever it was told", async () => {
  for (const [seconds, patienceMs] of [
    [20n, 70_000],
    [1_000_000n, 190_000],
  ] as const) {
    const server = new SilentServer(welcome(seconds));
    const { pass, end } = await setUp(server);
    await pass(patienceMs - 1_000);
    assert.equal(server.dials.value, 1, `${seconds} s`);
    await pass(2_000);
    assert.equal(server.dials.value, 2, `${seconds} s`);
    await end();
  }
});

test("relay client - comes back within the time of a drain, and within five minutes whatever that says", async () => {
  for (const [seconds, withinMs] of [
    [10n, 10_000],
    [-10n, 5_000],
    [1_000_000_000n, 300_000],
  ] as const) {
    const server = new SilentServer(welcome(20n), drain(seconds));
    const { pass, end } = await setUp(server);
    await pass(1);
    await pass(withinMs + 1_000);
    assert.ok((server.dials.value ?? 0) > 1, `${seconds} s`);
    await end();
  }
});

test("relay client - knows how far the server's clock is off, and says so when it is more than a minute", async () => {
  const warned: number[] = [];
  const seconds = (ms: unknown): number => Math.round(Number(ms) / 1000);
  const log: Log = {
    ...silentLog,
    warn: (text, fields) => {
      if (text.includes("time")) warned.push(seconds(fields?.["clockOffsetMs"]));
    },
  };
  const { client, pass, end } = await setUp(new SilentServer(welcome(20n)), log);
  await pass(1);
  const state = client.state.value;
  assert.deepEqual([state?.kind === "connected" && seconds(state.clockOffsetMs), warned], [-1_000, [-1_000]]);
  await end();
});

test("relay client - goes on reading, and answers, while the server reads nothing", async () => {
  const push = (id: bigint): NonNullable<ConnectResponse["message"]> => ({
    $case: "push",
    value: {
      type: ISSUED_CERTIFICATE,
      id,
      base: Buffer.alloc(0),
      upserts: [],
      removals: [],
      digest: digestOf(new Map()),
    },
  });
  const server = new SilentServer(welcome(20n), push(1n), push(2n), push(3n));
  server.isReading = false;
  const { pass, end } = await setUp(server);
  await pass(3_000);
  assert.equal(server.written.filter(({ message }) => message?.$case === "result").length, 3);
  await end();
});

test("relay client - a status that changes without rest is told ten times a second, the newest each time", async () => {
  const server = new SilentServer(welcome(20n));
  const { statuses, pass, end } = await setUp(server);
  for (let change = 0; change < 100; change++) {
    const name = { namespace: "gloo-mesh", name: `change-${change}` };
    statuses.set([IssuedCertificateStatus.fromPartial({ name })]);
    await pass(10);
  }
  await pass(100);
  const told = server.written.flatMap(({ message }) => (message?.$case === "status" ? [message.value] : []));
  assert.ok(told.length >= 10 && told.length <= 12, `${told.length} messages`);
  assert.equal(told.at(-1)?.certificates[0]?.name?.name, "change-99");
  await end();
});

test("relay client - is back within the cap of its waits, however long the server was away", async () => {
  for (const outageS of [3, 60, 900]) {
    const server = new SilentServer(welcome(20n));
    server.isAway = true;
    const { client, pass, end } = await setUp(server);
    const kind = (): string | undefined => client.state.value?.kind;
    await pass(outageS * 1_000);
    assert.equal(kind(), "offline");
    server.isAway = false;
    await pass(6_000);
    assert.equal(kind(), "connected", `${outageS} s`);
    await end();
  }
});

test("relay client - while the server is away a large fleet comes no faster than it can be let in again", async () => {
  for (const [spreadS, mostDials] of [
    [2n, 250],
    [60n, 30],
  ] as const) {
    const spread = { seconds: spreadS, nanos: 0 };
    const greeting = welcome(20n);
    if (greeting.$case === "welcome") greeting.value.reconnectSpread = spread;
    const server = new SilentServer(greeting);
    const { pass, end } = await setUp(server);
    await pass(1);
    server.isAway = true;
    await pass(1_000_000);
    const dials = server.dials.value ?? 0;
    assert.ok(dials > mostDials / 2 && dials < mostDials, `${dials} dials with a spread of ${spreadS} s`);
    await end();
  }
});
