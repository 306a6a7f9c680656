import assert from "node:assert/strict";
import { test } from "node:test";
import { LinkMode, type LinkRequest, type LinkResponse } from "../../proto/gen/istiod/v1/istiod.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { LinkBook } from "./links.ts";
import { serveLink } from "./link-session.ts";
import type { HeldCertificate } from "./orders.ts";
import { Refusals } from "./refusals.ts";

const HELLO: LinkRequest = { message: { $case: "hello", value: { mode: LinkMode.LINK_MODE_INIT, version: "1" } } };

/** One stream, whose pod says what the test writes. */
function openStream(tokenLifeMs = 600_000) {
  const clock = new ManualClock();
  const held = new Latest<readonly HeldCertificate[]>([]);
  const book = new LinkBook({ held, context: { cluster: "c", vault: {} }, forgetAfterMs: 0, clock });
  const gone = new AbortController();
  const stopping = new AbortController();
  const input = new TransformStream<LinkRequest, LinkRequest>();
  const writer = input.writable.getWriter();
  const sent: LinkResponse[] = [];
  const principal = {
    podName: "istiod-1",
    podUid: "uid-1",
    podNamespace: "istio-system",
    serviceAccount: "istiod",
    expiresAtMs: clock.now() + tokenLifeMs,
  };
  const ended = serveLink({
    book,
    claim: () => Promise.resolve(),
    refusals: new Refusals(clock, silentLog),
    clock,
    log: silentLog,
    stopping: stopping.signal,
    requests: input.readable,
    send: async (message) => void sent.push(message),
    context: { principal, peer: "test", signal: gone.signal },
  });
  // Awaited by the test, which may come later.
  ended.catch(() => undefined);
  const connected = (): boolean[] =>
    book.list().flatMap(({ replicas }) => replicas.map((replica) => replica.connected));
  return { clock, ended, gone, stopping, sent, connected, write: (request: LinkRequest) => writer.write(request) };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const kinds = (sent: readonly LinkResponse[]) => sent.map(({ message }) => message?.$case);

test("link session - answers a hello at once, and gives signs of life while it gets some", async () => {
  const stream = openStream();
  await stream.write(HELLO);
  await turn();
  assert.deepEqual(kinds(stream.sent), ["noOrder"]);
  for (let beat = 0; beat < 5; beat++) {
    await stream.write({ message: { $case: "heartbeat", value: new Date() } });
    stream.clock.advance(10_000);
    await turn();
  }
  assert.deepEqual(kinds(stream.sent), ["noOrder", ...Array<string>(5).fill("heartbeat")]);
  assert.deepEqual(stream.connected(), [true]);
  stream.gone.abort(new MeshError("canceled", "gone"));
  assert.deepEqual(stream.connected(), [false], "the pod may link again within the same tick");
  await assert.rejects(stream.ended, { code: "canceled" });
});

test("link session - ends for silence, for an expired token, for a stopping agent and for want of a hello", async () => {
  const silent = openStream();
  await silent.write(HELLO);
  await turn();
  for (let beat = 0; beat < 4; beat++) {
    silent.clock.advance(10_000);
    await turn();
  }
  await assert.rejects(silent.ended, { code: "unavailable", message: /was silent for 40000 ms/ });
  assert.deepEqual(silent.connected(), [false]);

  const expired = openStream(5_000);
  await expired.write(HELLO);
  await turn();
  expired.clock.advance(5_000);
  await assert.rejects(expired.ended, { code: "unauthenticated" });

  const stopped = openStream();
  await stopped.write(HELLO);
  await turn();
  stopped.stopping.abort(new MeshError("canceled", "stopped"));
  await assert.rejects(stopped.ended, { code: "unavailable", message: "the agent is stopping" });

  const mute = openStream();
  await turn();
  mute.clock.advance(10_000);
  await assert.rejects(mute.ended, { code: "deadline_exceeded" });
  assert.deepEqual(mute.connected(), []);
});
