import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createCsr } from "../../../common/pki/csr.ts";
import { generateKey } from "../../../common/pki/keys.ts";
import { MeshError } from "../../../common/runtime/errors.ts";
import { Dialer } from "../../../common/session/client.ts";
import { ISSUED_CERTIFICATE } from "../../../common/session/resource-set.ts";
import { AdminServiceService, ListSessionsRequest } from "../../../proto/gen/admin/v1/admin.ts";
import { IssuedCertificateStatus } from "../../../proto/gen/certificates/v1/certificates.ts";
import { EnrollmentServiceService } from "../../../proto/gen/enrollment/v1/enrollment.ts";
import { IstiodServiceService, LinkMode } from "../../../proto/gen/istiod/v1/istiod.ts";
import type { ConnectRequest } from "../../../proto/gen/relay/v1/relay.ts";
import { formatJoinToken, makeJoinToken, parseJoinToken } from "../../../server/identity/token.ts";
import { eventually } from "../../harness/wait.ts";
import { replicaOf } from "../mesh.ts";
import { type Attack, type Battlefield, call, connectAs } from "./battlefield.ts";
import { handshake, throwAt } from "./raw.ts";

/** A time that fits the wire and no clock. */
const NO_TIME = new Date(8.64e15);
Object.defineProperty(NO_TIME, "getTime", { value: () => 9e18 });

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const frame = (type: number, flags: number, payload: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0, payload.length >> 8, payload.length & 255, type, flags, 0, 0, 0, 1]), payload]);

const GARBAGE: readonly Buffer[] = [
  Buffer.alloc(0),
  randomBytes(4096),
  Buffer.from("GET toString HTTP/1.1\r\n\r\n"),
  Buffer.from("GET /__proto__ HTTP/1.1\r\nhost: a\r\n\r\n"),
  // A TLS record that announces more than comes.
  Buffer.from([22, 3, 1, 64, 0, 1, 0, 63, 252]),
  PREFACE,
  Buffer.concat([PREFACE, frame(4, 0, Buffer.alloc(0)), frame(1, 5, randomBytes(200)), randomBytes(300)]),
];

/** Code of the error that a call ends with; "let in" without one. */
const codeOf = (answer: Promise<unknown>): Promise<string> =>
  answer.then(
    () => "let in",
    (error: unknown) => MeshError.from(error).code,
  );

/** What the server says to a token; where the address has asked too often it is asked again. */
async function enroll(field: Battlefield, token: string): Promise<string> {
  const dialer = field.stranger();
  const certificateSigningRequest = await createCsr({ key: await generateKey({ type: "ec", curve: "P-256" }) });
  const request = { token, certificateSigningRequest, agentVersion: "" };
  try {
    const answer = await eventually("there is room to ask", async () => {
      const error = await codeOf(dialer.unary(EnrollmentServiceService.enroll, request, call()));
      return error !== "resource_exhausted" && { error };
    });
    return answer.error;
  } finally {
    dialer.close();
  }
}

type Message = NonNullable<ConnectRequest["message"]>;

const resultOf = (type: string, id: bigint): Message => ({
  $case: "result",
  value: { type, id, held: Buffer.alloc(0), wantWholeSet: false, results: [] },
});

const BREACHES: readonly [Message, string][] = [
  [resultOf("t".repeat(1_000_000), 1n), "invalid_argument"],
  [resultOf(ISSUED_CERTIFICATE, 99n), "invalid_argument"],
  [{ $case: "hello", value: { agentVersion: "", instanceId: "", capabilities: [], held: [] } }, "invalid_argument"],
];

/** What somebody tries with tokens, methods and messages. */
export const PROTOCOL_ATTACKS: readonly Attack[] = [
  {
    name: "a join token that was used",
    attempt: async (field) => {
      assert.equal(await enroll(field, field.mesh.clusters[0].joinToken), "unauthenticated");
      const lines = await field.mesh.server.lines();
      assert.ok(lines.some((line) => line["possibleTheft"] === true && line["cluster"] === "cluster-1"));
    },
  },
  {
    name: "join tokens that are guessed, by one who knows a token's public part, and by one who does not",
    attempt: async (field) => {
      const { token } = await field.mesh.register("cluster-4");
      const id = parseJoinToken(token)?.id ?? "";
      for (let count = 0; count < 10; count++) {
        const guess = formatJoinToken({ id, secret: makeJoinToken().secret });
        assert.equal(await enroll(field, guess), "unauthenticated");
      }
      assert.equal(await enroll(field, token), "unauthenticated", "ten wrong guesses kill a token");
      const dialer = field.stranger();
      const guesses = Array.from({ length: 60 }, async () => {
        const request = { token: formatJoinToken(makeJoinToken()), certificateSigningRequest: "", agentVersion: "" };
        return codeOf(dialer.unary(EnrollmentServiceService.enroll, request, call()));
      });
      const outcomes = new Set(await Promise.all(guesses));
      dialer.close();
      assert.deepEqual([outcomes.has("let in"), outcomes.has("resource_exhausted")], [false, true]);
    },
  },
  {
    name: "a method or service that a listener does not serve",
    attempt: async (field) => {
      const { listSessions } = AdminServiceService;
      const unknown = ["/admin.v1.AdminService/DropTables", "/toString", "/__proto__/constructor", "/a/b/c"];
      const loopback = () => new Dialer({ address: field.address("adminListen"), peer: "server" });
      const doors: [Dialer, string[]][] = [
        [field.intruder(), unknown],
        [field.stranger(), [...unknown, "/relay.v1.RelayService/Connect", "/admin.v1.RegistryService/RegisterCluster"]],
        [loopback(), [...unknown, "/relay.v1.RelayService/Connect", "/admin.v1.RegistryService/RevokeCluster"]],
        [field.operator(), [...unknown, "/relay.v1.RelayService/RenewCertificate"]],
      ];
      for (const [dialer, paths] of doors) {
        for (const path of paths) {
          await assert.rejects(
            dialer.unary({ ...listSessions, path }, ListSessionsRequest.create(), call()),
            { code: "unimplemented" },
            path,
          );
        }
        dialer.close();
      }
    },
  },
  {
    name: "TLS 1.2 on 9900 and 9901",
    attempt: async (field) => {
      for (const address of [field.address("relayListen"), field.address("enrollmentListen")]) {
        await assert.rejects(handshake(address, "TLSv1.2", field.stolen), /protocol version|ECONNRESET/);
        assert.equal(await handshake(address, "TLSv1.3", field.stolen), "TLSv1.3");
      }
      assert.equal(await handshake(field.mesh.clusters[0].agentAddress, "TLSv1.2"), "TLSv1.2");
    },
  },
  {
    name: "an oversize message",
    attempt: async (field) => {
      const stranger = field.stranger();
      const request = { token: "x".repeat(128 * 1024), certificateSigningRequest: "", agentVersion: "" };
      await assert.rejects(stranger.unary(EnrollmentServiceService.enroll, request, call()), {
        code: "resource_exhausted",
      });
      const intruder = field.intruder();
      const session = connectAs(intruder, new AbortController().signal);
      await session.next();
      const value = { agentVersion: "x".repeat(5_000_000), instanceId: "", capabilities: [], held: [] };
      session.say({ $case: "hello", value });
      await assert.rejects(session.end(), { code: "resource_exhausted" });
      for (const dialer of [stranger, intruder]) dialer.close();
    },
  },
  {
    name: "garbage on any port",
    attempt: async (field) => {
      const { mesh } = field;
      const [cluster] = mesh.clusters;
      const { debugListen = "", monitorListen = "" } = cluster.agentProgram().flags as Record<string, string>;
      const listeners = ["relayListen", "enrollmentListen", "adminListen", "monitorListen"] as const;
      const addresses = [
        ...listeners.map((name) => field.address(name)),
        `unix:${mesh.folder.file("server", "admin.sock")}`,
        ...[cluster.agentAddress, debugListen, monitorListen],
      ];
      await Promise.all(addresses.flatMap((address) => GARBAGE.map((bytes) => throwAt(address, bytes))));
    },
  },
  {
    name: "a breach of the protocol",
    attempt: async (field) => {
      const dialer = field.intruder();
      for (const [message, code] of BREACHES) {
        const session = connectAs(dialer, new AbortController().signal);
        await session.next();
        session.say(message);
        await assert.rejects(
          session.end(),
          (error: { code: string; message: string }) => error.code === code && error.message.length < 2_000,
        );
      }
      dialer.close();
    },
  },
  {
    name: "times that are none, and texts that drive a terminal",
    attempt: async (field) => {
      const dialer = field.intruder();
      const stop = new AbortController();
      const session = connectAs(dialer, stop.signal);
      assert.equal((await session.next())?.$case, "welcome");
      session.say({ $case: "heartbeat", value: { time: NO_TIME } });
      const name = { namespace: "gloo-mesh", name: "istiod-istio-system-cluster-2" };
      const status = IssuedCertificateStatus.fromPartial({ name, replicas: [{ podUid: "late", connected: true }] });
      for (const replica of status.replicas) {
        Object.assign(replica, { notBefore: NO_TIME, notAfter: NO_TIME, renewAt: NO_TIME });
      }
      session.say({
        $case: "status",
        value: { certificates: [status], removals: [], whole: true, discovery: undefined },
      });
      const view = await field.mesh.status("the report", (seen) => replicaOf(seen, "cluster-2")?.podUid === "late");
      assert.equal(replicaOf(view, "cluster-2")?.notAfter, undefined);
      const { clockOffsetMs, agentVersion } = await field.session("cluster-2");
      assert.deepEqual([clockOffsetMs < 1_000_000n, agentVersion.length], [true, 64]);
      stop.abort();
      dialer.close();
      await asIstiodAgent(field);
    },
  },
];

/** The same on 9977, with the token of a pod. */
async function asIstiodAgent({ mesh }: Battlefield): Promise<void> {
  const [cluster] = mesh.clusters;
  const rootsPem = await readFile(mesh.folder.file("cluster-1", "agent-ca.pem"), "utf8");
  const podUid = "0b6a1f0e-1c52-4f8e-9f2e-3d8a2f6b7c10";
  const token = await cluster.accounts.sign({ audience: "enterprise-agent", podName: "istiod-evil-abcde", podUid });
  const dialer = new Dialer({
    ...{ address: cluster.agentAddress, peer: "agent", tls: { rootsPem, minVersion: "TLSv1.2" } },
    ...{ authority: "enterprise-agent.gloo-mesh", headers: () => ({ authorization: `Bearer ${token}` }) },
  });
  const stop = new AbortController();
  const stream = dialer.bidi(IstiodServiceService.link, stop.signal);
  stream.write({ message: { $case: "hello", value: { mode: LinkMode.LINK_MODE_SIDECAR, version: "\u001b[31m" } } });
  const messages = stream.messages();
  assert.equal((await messages.next()).value?.message?.$case, "order");
  stream.write({ message: { $case: "heartbeat", value: NO_TIME } });
  const [status] = IssuedCertificateStatus.fromPartial({ replicas: [{ serial: "66" }] }).replicas;
  assert.ok(status);
  const times = { notBefore: NO_TIME, notAfter: NO_TIME, renewAt: NO_TIME };
  stream.write({ message: { $case: "status", value: Object.assign(status, times) } });
  const view = await mesh.status("the report", ({ clusters }) =>
    clusters.some(({ certificate }) => certificate?.replicas.some((replica) => replica.podUid === podUid)),
  );
  const replicas = view.clusters.flatMap(({ certificate }) => certificate?.replicas ?? []);
  assert.equal(replicas.find((replica) => replica.podUid === podUid)?.notAfter, undefined);
  stop.abort();
  dialer.close();
}
