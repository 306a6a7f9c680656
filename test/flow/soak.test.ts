import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { queryObjects } from "node:v8";
import { IntentHolder, type IntentStore } from "../../agent/apply/intent-holder.ts";
import { NOTHING_HELD } from "../../agent/apply/apply-machine.ts";
import type { AgentCredentials } from "../../agent/identity/documents.ts";
import { relayChannel } from "../../agent/relay/relay-channel.ts";
import { RelayClient } from "../../agent/relay/relay-client.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { parseHostPort } from "../../common/runtime/settings.ts";
import { Dialer } from "../../common/session/client.ts";
import { startGrpcServer } from "../../common/session/server.ts";
import { agentAddressOf } from "../../istiod-agent/config.ts";
import { AgentLink } from "../../istiod-agent/link/agent-link.ts";
import type { OrderState } from "../../istiod-agent/link/order-state.ts";
import { fileCredential } from "../../istiod-agent/pod/credential.ts";
import { ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { LinkMode } from "../../proto/gen/istiod/v1/istiod.ts";
import { RelayServiceService } from "../../proto/gen/relay/v1/relay.ts";
import { Hub } from "../../server/relay/hub.ts";
import { IntentBook } from "../../server/relay/intent-book.ts";
import { relayService } from "../../server/relay/relay-service.ts";
import { LocalSessions } from "../../server/store/local-sessions.ts";
import { StatusBook } from "../../server/relay/status-book.ts";
import { forwardPort } from "../harness/forward.ts";
import { IstiodLinkWorld } from "../harness/istiod-link.ts";
import { freePort } from "../harness/ports.ts";
import { eventually } from "../harness/wait.ts";

const CYCLES = 500;
/** Collected, closed and forgotten at their own time; what leaks leaves one for each cycle. */
const SLACK = 20;

type Census = Readonly<Record<string, number>>;

/** What a session could leave behind: handles and timers, listeners on the signal that outlives it, signals of its own. */
function takeCensus(signal: AbortSignal): Census {
  const handles = Object.groupBy(process.getActiveResourcesInfo(), (kind) => kind);
  return {
    ...Object.fromEntries(Object.entries(handles).map(([kind, all]) => [kind, all?.length ?? 0])),
    listeners: getEventListeners(signal, "abort").length,
    signals: queryObjects(AbortSignal, { format: "count" }),
    dialers: queryObjects(Dialer, { format: "count" }),
  };
}

/** Passes as soon as nothing is left over from the cycles that lie behind. */
async function untilBackAt(before: Census, signal: AbortSignal): Promise<void> {
  let grown: readonly string[] = [];
  const settled = eventually(
    "back at the baseline",
    async () => {
      const now = Object.entries(takeCensus(signal));
      grown = now.filter(([kind, count]) => count > (before[kind] ?? 0) + SLACK).map((each) => each.join(": "));
      return grown.length === 0;
    },
    { timeoutMs: 15_000, intervalMs: 250 },
  );
  await settled.catch(() =>
    assert.fail(`grown over ${CYCLES} cycles: ${grown.join(", ")}; before: ${JSON.stringify(before)}`),
  );
}

/** A hub behind a plain listener, where every caller is cluster-1. */
async function startHub() {
  let epoch = 0n;
  const hub = new Hub({
    clock: systemClock,
    log: silentLog,
    intents: new IntentBook(),
    statuses: new StatusBook(),
    notReady: () => [],
    isServed: () => true,
    sessions: new LocalSessions({ next: async () => ++epoch }),
    onSessionChange: () => undefined,
    hellosPerSecond: 1_000_000,
  });
  const peer = { identity: { kind: "cluster", name: "cluster-1" }, serial: "1", fingerprint: "f", notAfterMs: 9e15 };
  const server = await startGrpcServer({
    listen: "127.0.0.1:0",
    authorize: () => ({ cluster: "cluster-1", peer }),
    services: [relayService({ hub, identity: { renew: () => Promise.reject(new Error("not asked here")) } })],
  });
  return { hub, server, dial: () => new Dialer({ address: server.address, peer: "server" }) };
}

const credentials = (serial: string): AgentCredentials => ({
  ...{ keyPem: "", certificatePem: "", trustBundlePem: "", cluster: "cluster-1", serial },
  ...{ notBeforeMs: 0, notAfterMs: 9e15 },
});

/** A session that its client half-closes. */
async function halfClose(dial: () => Dialer, signal: AbortSignal): Promise<void> {
  const dialer = dial();
  const stream = dialer.bidi(RelayServiceService.connect, signal);
  stream.write({
    message: { $case: "hello", value: { agentVersion: "", instanceId: "", capabilities: [], held: [] } },
  });
  for await (const { message } of stream.messages()) if (message?.$case === "welcome") stream.end();
  dialer.close();
}

test("soak - sessions between agent and hub that end in any way leave nothing behind", async () => {
  const { hub, server, dial } = await startHub();
  const stop = new AbortController();
  const store: IntentStore = {
    certificates: new Latest([]),
    load: () => Promise.resolve(NOTHING_HELD),
    save: () => Promise.resolve(new Map()),
    guard: () => Promise.resolve(),
  };
  const client = new RelayClient({
    ...{ clock: systemClock, random: () => 0, log: silentLog, dial: () => relayChannel(dial()) },
    identity: {
      current: () => credentials("1"),
      confirm: () => Promise.resolve(),
      refused: () => Promise.resolve(false),
      heardRoots: () => undefined,
    },
    intent: await IntentHolder.open(store, stop.signal),
    report: { statuses: new Latest([]), podBounces: new Latest(new Map()), discovery: new Latest() },
  });
  const running = client.run(stop.signal);
  const other = credentials("2");
  let last = "";
  const cycle = async (count: number): Promise<void> => {
    const state = await client.state.until((now) => now.kind === "connected" && now.sessionId !== last, stop.signal);
    last = state.kind === "connected" ? state.sessionId : "";
    if (count % 2 === 0) hub.close("cluster-1", new MeshError("unavailable", "cut by the test"));
    else client.reconnectUnless(other);
  };
  for (let count = 0; count < 10; count++) await cycle(count);
  const before = takeCensus(stop.signal);
  for (let count = 0; count < CYCLES; count++) await cycle(count);
  stop.abort();
  await running;
  const quiet = new AbortController();
  for (let count = 0; count < CYCLES / 5; count++) await halfClose(dial, quiet.signal);
  await untilBackAt(before, quiet.signal);
  await server.close(100);
});

test("soak - links between istiod-agent and agent that are cut or left leave nothing behind", async () => {
  await using world = await IstiodLinkWorld.start();
  const agent = await world.startAgent();
  world.order();
  const to = parseHostPort(agent.address) ?? { host: "", port: 0 };
  const from = { host: "127.0.0.1", port: await freePort() };
  const pod = await world.createPod(`127.0.0.1:${from.port}`, "http://127.0.0.1:1");
  const orders = new Latest<OrderState>({ kind: "waiting", reason: "not linked yet" });
  const link = new AgentLink({
    ...{ address: agentAddressOf(pod.config), authority: "enterprise-agent.gloo-mesh" },
    ...{ roots: fileCredential(world.agentCaFile), token: fileCredential(pod.tokenFile) },
    ...{ mode: LinkMode.LINK_MODE_SIDECAR, orders, log: silentLog },
    ...{ statuses: new Latest(ReplicaStatus.fromPartial({})), clock: systemClock, random: () => 0.001 },
  });
  const stop = new AbortController();
  const linked = async (): Promise<OrderState> => {
    const state = await orders.until(({ kind }) => kind === "order", stop.signal);
    orders.set({ kind: "waiting", reason: "the next one is awaited" });
    return state;
  };
  const running = link.run(stop.signal);
  const cycle = async (): Promise<void> => {
    await using _ = await forwardPort(from, to);
    await linked();
  };
  for (let count = 0; count < 10; count++) await cycle();
  const before = takeCensus(stop.signal);
  for (let count = 0; count < CYCLES; count++) await cycle();
  await untilBackAt(before, stop.signal);
  stop.abort();
  await running;
});
