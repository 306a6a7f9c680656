import assert from "node:assert/strict";
import { createPrivateKey, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile, stat } from "node:fs/promises";
import { connect as connectHttp2, constants } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect as connectTls } from "node:tls";
import type { StoredCredentials } from "../../agent/identity/documents.ts";
import { signCertificate } from "../../common/pki/authority.ts";
import { parseCertificate, toPem } from "../../common/pki/certificate.ts";
import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { parseHostPort } from "../../common/runtime/settings.ts";
import { Dialer } from "../../common/session/client.ts";
import { ISSUED_CERTIFICATE } from "../../common/session/resource-set.ts";
import { identityUri, type KeyAndChain } from "../../common/session/tls.ts";
import { AdminServiceService, type ClusterSession } from "../../proto/gen/admin/v1/admin.ts";
import { CertificateState, IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { EnrollmentServiceService } from "../../proto/gen/enrollment/v1/enrollment.ts";
import { IstiodServiceService, LinkMode } from "../../proto/gen/istiod/v1/istiod.ts";
import { type ConnectRequest, RelayServiceService } from "../../proto/gen/relay/v1/relay.ts";
import { eventually } from "../harness/wait.ts";
import { FlowMesh, replicaOf } from "./mesh.ts";
import { launchProcess } from "./program.ts";

/** A time that fits the wire and no clock. */
const NO_TIME = new Date(8.64e15);
Object.defineProperty(NO_TIME, "getTime", { value: () => 9e18 });

const call = () => ({ signal: new AbortController().signal, timeoutMs: 20_000 });

const certificateOf = (cluster: string) => ({ namespace: "gloo-mesh", name: `istiod-istio-system-${cluster}` });

/** Server and agents as processes of their own; cluster-2's agent is stopped and its identity stolen. */
class Battlefield implements AsyncDisposable {
  readonly mesh: FlowMesh;
  readonly stolen: StoredCredentials;
  readonly healthy: ClusterSession;

  private constructor(mesh: FlowMesh, stolen: StoredCredentials, healthy: ClusterSession) {
    this.mesh = mesh;
    this.stolen = stolen;
    this.healthy = healthy;
  }

  static async start(): Promise<Battlefield> {
    // Nothing may depend on a mask that keeps others out.
    const mask = process.umask(0);
    const mesh = await FlowMesh.start({ launch: launchProcess });
    try {
      await mesh.apply();
      await mesh.clusters[0].pod.startSidecar();
      await sessionOf(mesh, "cluster-2");
      await mesh.clusters[1].agent.stop();
      const text = await readFile(mesh.folder.file("cluster-2", "agent", "identity.json"), "utf8");
      const { current } = JSON.parse(text) as { current: StoredCredentials };
      return new Battlefield(mesh, current, await sessionOf(mesh, "cluster-1"));
    } catch (error) {
      await mesh[Symbol.asyncDispose]();
      throw error;
    } finally {
      process.umask(mask);
    }
  }

  address(name: "relayListen" | "enrollmentListen" | "adminListen" | "monitorListen"): string {
    return this.mesh.serverFlags[name] ?? "";
  }

  /** A channel with the stolen identity, or another one. */
  intruder({ keyPem, certificatePem, trustBundlePem: rootsPem } = this.stolen): Dialer {
    const tls = { rootsPem, identity: { keyPem, certificatePem }, minVersion: "TLSv1.3" } as const;
    return new Dialer({ address: this.address("relayListen"), tls, peer: "server" });
  }

  stranger(): Dialer {
    const tls = { rootsPem: this.stolen.trustBundlePem, minVersion: "TLSv1.3" } as const;
    return new Dialer({ address: this.address("enrollmentListen"), tls, peer: "server" });
  }

  /** Cluster 1 has the session that it had before all attacks, and both programs run. */
  async assertUnharmed(): Promise<void> {
    const { sessionId, connected } = await sessionOf(this.mesh, "cluster-1");
    assert.deepEqual([sessionId, connected], [this.healthy.sessionId, true]);
    const replicas = await this.mesh.status("cluster-1 speaks", (view) => replicaOf(view, "cluster-1") !== undefined);
    assert.equal(replicaOf(replicas, "cluster-1")?.connected, true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]();
  }
}

async function sessionOf(mesh: FlowMesh, cluster: string): Promise<ClusterSession> {
  const dialer = new Dialer({ address: mesh.serverFlags["adminListen"] ?? "", peer: "server" });
  try {
    return await eventually(`${cluster} has a session`, async () => {
      const { sessions } = await dialer.unary(AdminServiceService.listSessions, {}, call());
      return sessions.find((each) => each.cluster === cluster && each.connected);
    });
  } finally {
    dialer.close();
  }
}

/** A session that says hello, and then what it is told to. */
function connectAs(dialer: Dialer, signal: AbortSignal) {
  const stream = dialer.bidi(RelayServiceService.connect, signal);
  const messages = stream.messages();
  const hello = { agentVersion: `evil\u001b[2J${"x".repeat(2_000_000)}`, instanceId: "", capabilities: [], held: [] };
  const say = (message: NonNullable<ConnectRequest["message"]>): boolean => stream.write({ message });
  say({ $case: "hello", value: hello });
  return {
    say,
    next: async () => (await messages.next()).value?.message,
    end: async () => {
      for await (const _ of messages);
    },
  };
}

const tcp = (address: string): Socket => {
  const { host = "", port = 0 } = parseHostPort(address) ?? {};
  return connectTcp(address.startsWith("unix:") ? { path: address.slice(5) } : { host, port });
};

/** Sends bytes and waits until the other side is done with this connection, or half a second. */
async function throwAt(address: string, bytes: Buffer): Promise<void> {
  const socket = tcp(address).on("error", () => undefined);
  socket.setTimeout(500, () => socket.destroy());
  socket.resume().end(bytes);
  await once(socket, "close");
}

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

/** TLS version that a listener agrees to when at most `maxVersion` is offered; throws when it does not. */
async function handshake(address: string, maxVersion: "TLSv1.2" | "TLSv1.3", identity?: StoredCredentials) {
  const { host = "", port = 0 } = parseHostPort(address) ?? {};
  const shown = identity ? { key: identity.keyPem, cert: identity.certificatePem } : {};
  const socket = connectTls({ host, port, maxVersion, rejectUnauthorized: false, ALPNProtocols: ["h2"], ...shown });
  try {
    await once(socket, "secureConnect");
    return socket.getProtocol();
  } finally {
    socket.destroy();
  }
}

/** Floods a listener over one HTTP/2 connection; the listener may end it. */
async function flood(address: string, attack: (session: ReturnType<typeof connectHttp2>) => void): Promise<void> {
  const session = connectHttp2(`https://${address}`, { rejectUnauthorized: false }).on("error", () => undefined);
  await once(session, "connect");
  attack(session);
  session.setTimeout(2_000, () => session.destroy());
  const closed = once(session, "close");
  setTimeout(() => session.destroy(), 2_000).unref();
  await closed;
}

describe("attacks", { timeout: 120_000 }, () => {
  let field: Battlefield;
  let silent: { readonly closed: Promise<unknown>; readonly openedMs: number };

  before(async () => {
    field = await Battlefield.start();
    const socket = tcp(field.address("enrollmentListen")).on("error", () => undefined);
    silent = { closed: once(socket, "close"), openedMs: performance.now() };
  });
  after(() => field[Symbol.asyncDispose]());

  test("attacks - 9900 and 9901 speak TLS 1.3 and nothing older, 9977 from 1.2 on", async () => {
    const relay = field.address("relayListen");
    const enrollment = field.address("enrollmentListen");
    for (const address of [relay, enrollment]) {
      await assert.rejects(handshake(address, "TLSv1.2", field.stolen), /protocol version|ECONNRESET/);
      assert.equal(await handshake(address, "TLSv1.3", field.stolen), "TLSv1.3");
    }
    assert.equal(await handshake(field.mesh.clusters[0].agentAddress, "TLSv1.2"), "TLSv1.2");
  });

  test("attacks - a certificate of the relay's own CA that has expired, or is a server's, opens nothing", async () => {
    const text = await readFile(field.mesh.folder.file("server", "relay-ca.json"), "utf8");
    const { keyPem, certificatePem } = JSON.parse(text) as KeyAndChain;
    const issuer = { key: createPrivateKey(keyPem), certificate: parseCertificate(certificatePem) };
    const key = await generateKey({ type: "ec", curve: "P-256" });
    const [dayMs, nowMs] = [86_400_000, Date.now()];
    const sign = async (notAfterMs: number, usage: "clientAuth" | "serverAuth"): Promise<KeyAndChain> => {
      const certificate = await signCertificate({
        ...{ issuer, subject: { commonName: "cluster-1" }, publicKey: key, extendedKeyUsages: [usage] },
        ...{
          uriSans: [identityUri({ kind: "cluster", name: "cluster-1" })],
          notBeforeMs: nowMs - 2 * dayMs,
          notAfterMs,
        },
      });
      return { keyPem: privateKeyToPem(key), certificatePem: toPem([certificate]) };
    };
    for (const identity of [await sign(nowMs - dayMs, "clientAuth"), await sign(nowMs + dayMs, "serverAuth")]) {
      const dialer = field.intruder({ ...field.stolen, ...identity });
      await assert.rejects(connectAs(dialer, new AbortController().signal).next(), { code: "unavailable" });
      dialer.close();
    }
  });

  test("attacks - a method or service that a listener does not know is refused, whoever asks", async () => {
    const { adminListen = "" } = field.mesh.serverFlags;
    const socket = `unix:${field.mesh.folder.file("server", "admin.sock")}`;
    const dialers = [
      field.intruder(),
      field.stranger(),
      new Dialer({ address: adminListen, peer: "server" }),
      new Dialer({ address: socket, peer: "server" }),
    ];
    const { listSessions } = AdminServiceService;
    const paths = ["/admin.v1.AdminService/DropTables", "/toString", "/__proto__/constructor", "/a/b/c"];
    for (const dialer of dialers) {
      for (const path of paths) {
        await assert.rejects(dialer.unary({ ...listSessions, path }, {}, call()), { code: "unimplemented" }, path);
      }
      dialer.close();
    }
    const reader = new Dialer({ address: adminListen, peer: "server" });
    for (const path of ["/admin.v1.RegistryService/RegisterCluster", "/relay.v1.RelayService/Connect"]) {
      await assert.rejects(reader.unary({ ...listSessions, path }, {}, call()), { code: "unimplemented" }, path);
    }
    reader.close();
  });

  test("attacks - garbage on any port harms nobody", async () => {
    const { mesh } = field;
    const [cluster] = mesh.clusters;
    const { debugListen = "", monitorListen = "" } = cluster.agentProgram().flags as Record<string, string>;
    const addresses = [
      ...(["relayListen", "enrollmentListen", "adminListen", "monitorListen"] as const).map((name) =>
        field.address(name),
      ),
      `unix:${mesh.folder.file("server", "admin.sock")}`,
      ...[cluster.agentAddress, debugListen, monitorListen],
    ];
    await Promise.all(addresses.flatMap((address) => GARBAGE.map((bytes) => throwAt(address, bytes))));
    await field.assertUnharmed();
  });

  test("attacks - nobody who is not known gets a large message read", async () => {
    const dialer = field.stranger();
    const request = { token: "x".repeat(128 * 1024), certificateSigningRequest: "", agentVersion: "" };
    await assert.rejects(dialer.unary(EnrollmentServiceService.enroll, request, call()), {
      code: "resource_exhausted",
    });
    dialer.close();
  });

  test("attacks - a flood of pings, and one of streams that are reset at once, stop at their own connection", async () => {
    const enrollment = field.address("enrollmentListen");
    await flood(enrollment, (session) => {
      for (let count = 0; count < 20_000 && !session.destroyed; count++) session.ping(() => undefined);
    });
    await flood(enrollment, (session) => {
      for (let count = 0; count < 5_000 && !session.destroyed; count++) {
        const stream = session.request({ ":method": "POST", ":path": "/enrollment.v1.EnrollmentService/Enroll" });
        stream.on("error", () => undefined).close(constants.NGHTTP2_CANCEL);
      }
    });
    await field.assertUnharmed();
  });

  test("attacks - an agent reports for its own cluster alone, and times that are none are left out", async () => {
    const dialer = field.intruder();
    const stop = new AbortController();
    const session = connectAs(dialer, stop.signal);
    assert.equal((await session.next())?.$case, "welcome");
    session.say({ $case: "heartbeat", value: { time: NO_TIME } });
    const lie = (cluster: string) =>
      IssuedCertificateStatus.fromPartial({
        name: certificateOf(cluster),
        replicas: [
          {
            podName: "evil\u001b]0;owned\u0007",
            podUid: "evil",
            state: CertificateState.CERTIFICATE_STATE_FAILED,
            error: { code: "internal", message: "x".repeat(100_000) },
            serial: "66:66",
            connected: true,
          },
        ],
      });
    const [one, two] = [lie("cluster-1"), lie("cluster-2")];
    for (const replica of two.replicas)
      Object.assign(replica, { notBefore: NO_TIME, notAfter: NO_TIME, renewAt: NO_TIME });
    session.say({
      $case: "status",
      value: { certificates: [one, two], removals: [], whole: true, discovery: undefined },
    });
    const view = await field.mesh.status("the lie", (seen) => replicaOf(seen, "cluster-2")?.podUid === "evil");
    const told = replicaOf(view, "cluster-2");
    assert.deepEqual([told?.notAfter, told?.error?.message.length], [undefined, 1024]);
    assert.notEqual(replicaOf(view, "cluster-1")?.podUid, "evil");
    const { clockOffsetMs, agentVersion } = await sessionOf(field.mesh, "cluster-2");
    assert.deepEqual([clockOffsetMs < 1_000_000n, agentVersion.length], [true, 64]);
    stop.abort();
    dialer.close();
    await field.assertUnharmed();
  });

  test("attacks - a breach of the protocol ends the session with a short reason", async () => {
    const dialer = field.intruder();
    const breaches: [NonNullable<ConnectRequest["message"]>, string][] = [
      [
        {
          $case: "result",
          value: { type: "t".repeat(1_000_000), id: 1n, held: Buffer.alloc(0), wantWholeSet: false, results: [] },
        },
        "invalid_argument",
      ],
      [
        {
          $case: "result",
          value: { type: ISSUED_CERTIFICATE, id: 99n, held: Buffer.alloc(0), wantWholeSet: false, results: [] },
        },
        "invalid_argument",
      ],
      [{ $case: "heartbeat", value: { time: undefined } }, ""],
      [
        { $case: "hello", value: { agentVersion: "x".repeat(5_000_000), instanceId: "", capabilities: [], held: [] } },
        "resource_exhausted",
      ],
    ];
    for (const [message, code] of breaches) {
      const stop = new AbortController();
      const session = connectAs(dialer, stop.signal);
      await session.next();
      session.say(message);
      if (code === "") stop.abort();
      else
        await assert.rejects(
          session.end(),
          (error: { code: string; message: string }) => error.code === code && error.message.length < 2_000,
        );
      stop.abort();
    }
    dialer.close();
    await field.assertUnharmed();
  });

  test("attacks - an agent that connects in a loop, or never reads, takes nothing from the others", async () => {
    const stop = new AbortController();
    const dialers = Array.from({ length: 4 }, () => field.intruder());
    const outcomes = await Promise.all(
      dialers.flatMap((dialer) =>
        Array.from({ length: 40 }, async () => {
          const session = connectAs(dialer, stop.signal);
          const first = await session.next().catch((error: unknown) => MeshError.from(error).code);
          return typeof first === "string" ? first : first?.$case;
        }),
      ),
    );
    assert.ok(outcomes.includes("resource_exhausted"), [...new Set(outcomes)].join());
    await field.assertUnharmed();
    stop.abort();
    for (const dialer of dialers) dialer.close();
  });

  test("attacks - an istiod-agent with times that are none is heard, and the agent lives on", async () => {
    const [cluster] = field.mesh.clusters;
    const rootsPem = await readFile(field.mesh.folder.file("cluster-1", "agent-ca.pem"), "utf8");
    const uid = "0b6a1f0e-1c52-4f8e-9f2e-3d8a2f6b7c10";
    const token = await cluster.accounts.sign({
      audience: "enterprise-agent",
      podName: "istiod-evil-abcde",
      podUid: uid,
    });
    const dialer = new Dialer({
      address: cluster.agentAddress,
      peer: "agent",
      tls: { rootsPem, minVersion: "TLSv1.2" },
      authority: "enterprise-agent.gloo-mesh",
      headers: () => ({ authorization: `Bearer ${token}` }),
    });
    const stop = new AbortController();
    const stream = dialer.bidi(IstiodServiceService.link, stop.signal);
    stream.write({ message: { $case: "hello", value: { mode: LinkMode.LINK_MODE_SIDECAR, version: "\u001b[31m" } } });
    const messages = stream.messages();
    assert.equal((await messages.next()).value?.message?.$case, "order");
    stream.write({ message: { $case: "heartbeat", value: NO_TIME } });
    const replica = { serial: "66", notBefore: NO_TIME, notAfter: NO_TIME, renewAt: NO_TIME };
    const [status] = IssuedCertificateStatus.fromPartial({ replicas: [replica] }).replicas;
    assert.ok(status);
    stream.write({ message: { $case: "status", value: Object.assign(status, replica) } });
    const view = await field.mesh.status("the report", ({ clusters }) =>
      clusters.some(({ certificate }) => certificate?.replicas.some(({ podUid }) => podUid === uid)),
    );
    const seen = view.clusters
      .flatMap(({ certificate }) => certificate?.replicas ?? [])
      .find(({ podUid }) => podUid === uid);
    assert.equal(seen?.notAfter, undefined);
    stop.abort();
    dialer.close();
    await field.assertUnharmed();
  });

  test("attacks - with a mask of 000 nobody else can read a file or open the socket", async () => {
    const folders = [field.mesh.folder.file("server"), field.mesh.folder.file("cluster-1", "agent")];
    for (const folder of folders) {
      assert.equal((await stat(folder)).mode & 0o777, 0o700, folder);
      for (const name of await readdir(folder)) {
        const { mode } = await stat(join(folder, name));
        assert.equal(mode & 0o777, 0o600, join(folder, name));
      }
    }
  });

  test("attacks - no log, however talkative, holds a token, a key or what drives a terminal", async () => {
    const { folder } = field.mesh;
    const [, keyBody = ""] = field.stolen.keyPem.split("\n");
    for (const log of [
      folder.file("server.log"),
      folder.file("cluster-1", "agent.log"),
      folder.file("cluster-2", "agent.log"),
    ]) {
      const text = await readFile(log, "utf8");
      assert.match(text, /"level":"info"/);
      assert.doesNotMatch(text, new RegExp("[\\u0000-\\u0009\\u000b-\\u001f]"), log);
      assert.doesNotMatch(text, /rjt1\.[0-9a-f]{16}\.|eyJ[\w-]{20}|PRIVATE KEY/, log);
      assert.equal(text.includes(keyBody), false, log);
      assert.ok(
        text.split("\n").every((line) => line.length < 10_000),
        `${log}: a line without bound`,
      );
    }
  });

  test("attacks - who connects to 9901 and says nothing is sent away", async () => {
    await Promise.race([silent.closed, once(AbortSignal.timeout(30_000), "abort")]);
    const openMs = performance.now() - silent.openedMs;
    assert.ok(openMs < 29_000, `open for ${openMs} ms`);
  });
});
