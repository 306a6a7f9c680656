import assert from "node:assert/strict";
import { once } from "node:events";
import { constants } from "node:http2";
import { setTimeout as delay } from "node:timers/promises";
import { MeshError } from "../../../common/runtime/errors.ts";
import { IssuedCertificateStatus } from "../../../proto/gen/certificates/v1/certificates.ts";
import type { ConnectRequest } from "../../../proto/gen/relay/v1/relay.ts";
import { type Attack, type Battlefield, connectAs } from "./battlefield.ts";
import { flood, framed, http2, openCall, tcp, throwOverTls } from "./raw.ts";

const CONNECT = "/relay.v1.RelayService/Connect";
const ENROLL = "/enrollment.v1.EnrollmentService/Enroll";

type Message = NonNullable<ConnectRequest["message"]>;
const HELLO: Message = {
  $case: "hello",
  value: { agentVersion: "flood", instanceId: "", capabilities: [], held: [] },
};
const HEARTBEAT: Message = { $case: "heartbeat", value: { time: new Date() } };

/** A report that is as large as one may be, with names that nobody gave. */
const report = (round: number): Message => {
  const replicas = Array.from({ length: 40 }, (_, index) => ({
    ...{ podUid: `${round}-${index}`, podName: "x".repeat(1_000), connected: true },
  }));
  const certificates = Array.from({ length: 4 }, (_, index) =>
    IssuedCertificateStatus.fromPartial({ name: { namespace: "gloo-mesh", name: `${round}-${index}` }, replicas }),
  );
  return { $case: "status", value: { certificates, removals: [], whole: false, discovery: undefined } };
};

/** Writes all of it to a session of the stolen identity, as fast as the server takes it. */
async function pour(field: Battlefield, bytes: readonly Buffer[]): Promise<void> {
  const session = await http2(field.address("relayListen"), { identity: field.stolen });
  const stream = openCall(session, CONNECT);
  stream.write(framed(HELLO));
  // Welcome.
  await once(stream, "data", { signal: AbortSignal.timeout(20_000) });
  for (const each of bytes) {
    assert.equal(stream.destroyed, false, "the session lives");
    await new Promise<void>((resolve) => stream.write(each, () => resolve()));
  }
  session.destroy();
}

/** Each wants an answer. */
const SETTINGS_FLOOD = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  Buffer.alloc(9 * 200_000, Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])),
]);

const DRIBBLE_MS = 500;
const STALLED = 40;

/** Sends its bytes one by one until the other side has enough of it; resolves to how long that took. */
async function dribble(address: string, bytes: Buffer): Promise<number> {
  const startMs = performance.now();
  const socket = tcp(address).resume();
  const closed = new Promise((resolve) => socket.once("close", () => resolve("closed")));
  for (let index = 0; ; index++) {
    socket.write(bytes.subarray(index % bytes.length, (index % bytes.length) + 1));
    if ((await Promise.race([closed, delay(DRIBBLE_MS, "open")])) === "closed") return performance.now() - startMs;
  }
}

/** A record that never ends: 16 KiB of a handshake are announced. */
const ENDLESS_HELLO = Buffer.from([22, 3, 1, 64, 0, 1, 0, 63, 252, 3, 3]);

/** What somebody tries by doing much, or next to nothing. */
export const FLOODS: readonly Attack[] = [
  {
    name: "a flood of messages",
    attempt: async (field) => {
      const heartbeats = framed(...Array.from({ length: 1_000 }, () => HEARTBEAT));
      await pour(
        field,
        Array.from({ length: 100 }, () => heartbeats),
      );
      await pour(
        field,
        Array.from({ length: 100 }, (_, round) => framed(report(round))),
      );
    },
  },
  {
    name: "a loop of connections by one agent",
    attempt: async (field) => {
      const stop = new AbortController();
      const dialers = Array.from({ length: 4 }, () => field.intruder());
      const attempts = dialers.flatMap((dialer) =>
        Array.from({ length: 40 }, async () => {
          const first = await connectAs(dialer, stop.signal)
            .next()
            .catch((error: unknown) => MeshError.from(error).code);
          return typeof first === "string" ? first : first?.$case;
        }),
      );
      const outcomes = await Promise.all(attempts);
      assert.ok(outcomes.includes("resource_exhausted"), [...new Set(outcomes)].join());
      await field.assertUnharmed();
      stop.abort();
      for (const dialer of dialers) dialer.close();
    },
  },
  {
    name: "slowloris: many who take their time for the handshake",
    attempt: async (field) => {
      const addresses = [field.address("relayListen"), field.address("enrollmentListen")];
      const dribbling = addresses.flatMap((address) =>
        Array.from({ length: STALLED }, () => dribble(address, ENDLESS_HELLO)),
      );
      const session = await http2(field.address("enrollmentListen"));
      session.destroy();
      await field.assertUnharmed();
      // 10 s is the bound; the rest is the machine's.
      const openMs = Math.max(...(await Promise.all(dribbling)));
      assert.ok(openMs < 100_000, `open for ${openMs} ms`);
    },
  },
  {
    name: "an agent that never reads",
    attempt: async (field) => {
      const session = await http2(field.address("relayListen"), { identity: field.stolen, initialWindowSize: 0 });
      const stream = openCall(session, CONNECT);
      stream.write(framed(HELLO));
      const { agentVersion } = await field.session("cluster-2");
      assert.equal(agentVersion, "flood");
      for (let change = 0; change < 5; change++) await field.push();
      session.destroy();
    },
  },
  {
    name: "a flood of pings",
    attempt: async (field) => {
      await flood(field.address("enrollmentListen"), (session) => {
        for (let count = 0; count < 20_000 && !session.destroyed; count++) session.ping(() => undefined);
      });
    },
  },
  {
    name: "a flood of settings",
    attempt: (field) => throwOverTls(field.address("enrollmentListen"), SETTINGS_FLOOD),
  },
  {
    name: "rapid reset: calls that are taken back at once",
    attempt: (field) =>
      flood(field.address("enrollmentListen"), (session) => {
        for (let count = 0; count < 5_000 && !session.destroyed; count++) {
          openCall(session, ENROLL).close(constants.NGHTTP2_CANCEL);
        }
      }),
  },
];
