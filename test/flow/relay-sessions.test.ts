import assert from "node:assert/strict";
import { test } from "node:test";
import { IntentHolder, type IntentStore } from "../../agent/apply/intent-holder.ts";
import { NOTHING_HELD } from "../../agent/apply/apply-machine.ts";
import { relayChannel } from "../../agent/relay/relay-channel.ts";
import { RelayClient, type RelayState } from "../../agent/relay/relay-client.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import { Dialer } from "../../common/session/client.ts";
import { digestOf, ISSUED_CERTIFICATE, keyOf, wireResource, type Versions } from "../../common/session/resource-set.ts";
import { runGrpcServer, type Caller } from "../../common/session/server.ts";
import {
  RelayServiceService,
  type ConnectRequest,
  type ConnectResponse,
  type Push,
} from "../../proto/gen/relay/v1/relay.ts";
import { Hub, type HubOptions } from "../../server/relay/hub.ts";
import { IntentBook } from "../../server/relay/intent-book.ts";
import { relayService } from "../../server/relay/relay-service.ts";
import { StatusBook } from "../../server/relay/status-book.ts";
import { LocalSessions } from "../../server/store/local-sessions.ts";
import { freePort } from "../harness/ports.ts";
import { eventually } from "../harness/wait.ts";

const bounded = (): AbortSignal => AbortSignal.timeout(60_000);
const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `cluster-${index}`);

/** The relay's rooms of a server on a plain listener: who calls is named by a header. */
class RelayServer implements AsyncDisposable {
  readonly address: string;
  readonly intents = new IntentBook();
  readonly hub: Hub;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #epoch = 0n;

  private constructor(address: string, options: Partial<HubOptions>) {
    this.address = address;
    const hub = (this.hub = new Hub({
      ...{ clock: systemClock, log: silentLog, intents: this.intents, statuses: new StatusBook() },
      ...{ notReady: () => [], isServed: () => true, onSessionChange: () => undefined, hellosPerSecond: 1_000 },
      sessions: new LocalSessions({ next: async () => Promise.resolve((this.#epoch += 1n)) }),
      ...options,
    }));
    const peer = { identity: { kind: "cluster", name: "" }, serial: "1", fingerprint: "f", notAfterMs: 9e15 };
    const listener = {
      listen: address,
      authorize: ({ metadata }: Caller) => ({ cluster: metadata.get("cluster")[0]?.toString(), peer }),
      services: [relayService({ hub, identity: { renew: () => Promise.reject(new Error("not asked here")) } })],
    };
    // As the server's main wires them: one signal ends both.
    this.#running = runTasks(this.#stop.signal, {
      hub: (signal) => hub.run(signal),
      relay: (signal) => runGrpcServer(listener, signal),
    });
  }

  static async start(options: Partial<HubOptions> = {}, address?: string): Promise<RelayServer> {
    return new RelayServer(address ?? `127.0.0.1:${await freePort()}`, options);
  }

  dial(cluster: string): Dialer {
    return new Dialer({ address: this.address, peer: "server", headers: () => ({ cluster }) });
  }

  /** Puts a certificate of this content in force everywhere; returns the set's digest. */
  put(clusters: readonly string[], content: Buffer): Buffer {
    const resource = wireResource({ namespace: "gloo-mesh", name: "mesh" }, content);
    const key = keyOf(resource.name);
    for (const cluster of clusters) this.intents.set(cluster, new Map([[key, resource]]));
    return digestOf(new Map([[key, resource.version]]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

/** The agent's relay client, with nothing behind it. */
class Client implements AsyncDisposable {
  readonly relay: RelayClient;
  /** What it was through, in order. */
  readonly states: RelayState[] = [];
  readonly #stop: AbortController;
  readonly #running: Promise<unknown>;

  private constructor(relay: RelayClient, stop: AbortController) {
    this.relay = relay;
    this.#stop = stop;
    this.#running = Promise.all([relay.run(stop.signal), this.#remember(stop.signal)]);
  }

  static async start(dial: () => Dialer): Promise<Client> {
    const stop = new AbortController();
    const store: IntentStore = {
      ...{ certificates: new Latest([]), load: () => Promise.resolve(NOTHING_HELD) },
      ...{ save: () => Promise.resolve(new Map()), guard: () => Promise.resolve() },
    };
    const credentials = {
      ...{ keyPem: "", certificatePem: "", trustBundlePem: "", cluster: "", serial: "1" },
      ...{ notBeforeMs: 0, notAfterMs: 9e15 },
    };
    const relay = new RelayClient({
      ...{ clock: systemClock, random: Math.random, log: silentLog, dial: () => relayChannel(dial()) },
      identity: {
        ...{ current: () => credentials, confirm: () => Promise.resolve() },
        ...{ refused: () => Promise.resolve(false), heardRoots: () => undefined },
      },
      intent: await IntentHolder.open(store, stop.signal),
      report: { statuses: new Latest([]), podBounces: new Latest(new Map()), discovery: new Latest() },
    });
    return new Client(relay, stop);
  }

  async connected(sinceMs = 0): Promise<void> {
    await this.relay.state.until((state) => state.kind === "connected" && state.sinceMs >= sinceMs, bounded());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #remember(signal: AbortSignal): Promise<void> {
    for await (const state of this.relay.state.watch(signal)) this.states.push(state);
  }
}

/** A session that does and reads what the test says, and no more. */
class RawSession {
  readonly pushes: Push[] = [];
  readonly #stream;
  readonly #messages: AsyncGenerator<ConnectResponse, void>;
  readonly #held = new Map<string, string>();

  constructor(dialer: Dialer, signal: AbortSignal) {
    this.#stream = dialer.bidi(RelayServiceService.connect, signal);
    this.#messages = this.#stream.messages();
    const held = [{ type: ISSUED_CERTIFICATE, digest: Buffer.alloc(0) }];
    this.#say({ $case: "hello", value: { agentVersion: "", instanceId: "", capabilities: [], held } });
  }

  get held(): Versions {
    return this.#held;
  }

  /** Reads up to the next push, takes it over and says so. */
  async take(): Promise<void> {
    for (;;) {
      const next = await this.#messages.next();
      if (next.done) throw new Error("the server ended the session");
      const { message } = next.value;
      if (message?.$case !== "push") continue;
      this.pushes.push(message.value);
      for (const { name, content } of message.value.upserts) {
        if (name) this.#held.set(keyOf(name), wireResource(name, content).version);
      }
      const { type, id } = message.value;
      const held = digestOf(this.#held);
      return this.#say({ $case: "result", value: { type, id, held, wantWholeSet: false, results: [] } });
    }
  }

  #say(message: NonNullable<ConnectRequest["message"]>): void {
    this.#stream.write({ message });
  }
}

/** One client for each cluster of a server at that address. */
class Fleet implements AsyncDisposable {
  readonly clients: readonly Client[];

  private constructor(clients: readonly Client[]) {
    this.clients = clients;
  }

  static async start(address: string, count: number): Promise<Fleet> {
    const dial = (cluster: string) => () => new Dialer({ address, peer: "server", headers: () => ({ cluster }) });
    return new Fleet(await Promise.all(names(count).map((cluster) => Client.start(dial(cluster)))));
  }

  async connected(sinceMs = 0): Promise<void> {
    await Promise.all(this.clients.map((client) => client.connected(sinceMs)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.clients.map((client) => client[Symbol.asyncDispose]()));
  }
}

test("relay sessions - a server that stops tells its agents to come back before it closes, and they do", async () => {
  const server = await RelayServer.start();
  await using fleet = await Fleet.start(server.address, 30);
  await fleet.connected();
  const stoppedAtMs = Date.now();
  await server[Symbol.asyncDispose]();
  for (const { states } of fleet.clients) {
    const lost = states.find(({ kind }, index) => kind === "offline" && states[index - 1]?.kind === "connected");
    const error = lost?.kind === "offline" ? lost.error : undefined;
    assert.match(error?.message ?? "", /the server asks to reconnect: the server stops/);
  }
  await using again = await RelayServer.start({}, server.address);
  await fleet.connected(stoppedAtMs);
  assert.equal(again.hub.agents.size, 30);
});

test("relay sessions - of many agents that come at once some are told when to come back, and get in then", async () => {
  await using server = await RelayServer.start({ hellosPerSecond: 5 });
  // Five at once, twenty-five in the five seconds for which a place is waited for.
  await using fleet = await Fleet.start(server.address, 40);
  await fleet.connected();
  const refusals = fleet.clients.map(({ states }) => {
    return states.filter((state) => state.kind === "offline" && state.error?.code === "resource_exhausted").length;
  });
  assert.ok(refusals.filter((count) => count > 0).length >= 5, `${refusals.join()}: nobody was sent away`);
  assert.ok(Math.max(...refusals) <= 3, `${refusals.join()}: one was sent away again and again`);
});

test("relay sessions - an agent that does not read costs two messages, however much changes, and harms nobody", async () => {
  const stop = new AbortController();
  await using server = await RelayServer.start();
  const clusters = names(11);
  server.put(clusters, Buffer.from("first"));
  const dialers = clusters.map((cluster) => server.dial(cluster));
  const [reader, ...sleepers] = dialers.map((dialer) => new RawSession(dialer, stop.signal));
  assert.ok(reader);
  try {
    await Promise.all([reader, ...sleepers].map((session) => session.take()));
    let newest: Uint8Array = Buffer.alloc(0);
    for (let change = 0; change < 40; change += 1) {
      // More than any window, so that what nobody reads would lie here.
      newest = server.put(clusters, Buffer.alloc(128 * 1024, change));
      while (!digestOf(reader.held).equals(newest)) await reader.take();
    }
    for (const session of sleepers) {
      while (!digestOf(session.held).equals(newest)) await session.take();
      assert.ok(session.pushes.length <= 3, `${session.pushes.length - 1} messages lay there for one that slept`);
    }
    await eventually("all in sync", async () => Promise.resolve(server.hub.agents.counts().outOfSync === 0));
  } finally {
    stop.abort();
    for (const dialer of dialers) dialer.close();
  }
});
