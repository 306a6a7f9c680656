import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { connect } from "node:tls";
import { type Authority, createRootCa, signCertificate } from "../../common/pki/authority.ts";
import { toPem } from "../../common/pki/certificate.ts";
import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { RelayCaStage } from "../../proto/gen/admin/v1/admin.ts";
import { parseHostPort } from "../../common/runtime/settings.ts";
import { API_SERVER_TOOLS } from "../harness/api-server.ts";
import { skipWithout } from "../harness/needs.ts";
import { eventually } from "../harness/wait.ts";
import { Agent, type Replica, ReplicaWorld } from "./server-replicas.ts";

const EC = { type: "ec", curve: "P-256" } as const;
const SPAN = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 };
const NAMES = { dnsSans: ["localhost"], ipSans: ["127.0.0.1"] };

async function root(commonName: string): Promise<Authority> {
  const key = await generateKey(EC);
  return { key, certificate: await createRootCa({ subject: { commonName }, key, ...SPAN }) };
}

type Names = Omit<Parameters<typeof signCertificate>[0], "issuer" | "subject" | "publicKey" | keyof typeof SPAN>;

async function leaf(issuer: Authority, names: Names) {
  const key = await generateKey(EC);
  const request = { issuer, subject: { commonName: "any" }, publicKey: key, ...names, ...SPAN };
  return { keyPem: privateKeyToPem(key), certificatePem: toPem([await signCertificate(request)]) };
}

const client = (issuer: Authority, ...dnsSans: string[]) =>
  leaf(issuer, { dnsSans, extendedKeyUsages: ["clientAuth"] });

const secret = (name: string, stringData: Readonly<Record<string, string>>) => ({
  ...{ apiVersion: "v1", kind: "Secret", metadata: { namespace: "gloo-mesh", name }, type: "Opaque", stringData },
});

const rootSecret = ({ certificate }: Authority) => secret("relay-root-tls-secret", { "ca.crt": toPem([certificate]) });

async function serverSecret(issuer: Authority) {
  const { keyPem, certificatePem } = await leaf(issuer, { ...NAMES, extendedKeyUsages: ["serverAuth"] });
  return secret("relay-server-tls-secret", { "tls.crt": certificatePem, "tls.key": keyPem });
}

const cluster = (name: string) => ({
  ...{ apiVersion: "multicluster.solo.io/v1alpha1", kind: "KubernetesCluster" },
  ...{ metadata: { namespace: "gloo-mesh", name }, spec: {} },
});

async function servedSerial({ addresses }: Replica): Promise<string> {
  const { host = "", port = 0 } = parseHostPort(addresses.relay) ?? {};
  const socket = connect({ host, port, ALPNProtocols: ["h2"], rejectUnauthorized: false });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

test(
  "real certificates - your own: named while they are missing, reloaded when replaced, a cluster is who its one name says",
  { skip: skipWithout(API_SERVER_TOOLS) },
  async () => {
    await using world = await ReplicaWorld.start();
    const server = await world.replica("own", { flags: ["--disable-relay-ca"], ready: false });
    await eventually("the missing Secret is named", async () =>
      /secret gloo-mesh\/relay-root-tls-secret is missing/.test(await server.readyz()),
    );
    const yours = await root("your root");
    await world.api.apply(rootSecret(yours), await serverSecret(yours), cluster("cluster-1"));
    await eventually("ready", async () => (await server.readyz()) === "ok\n");

    const rootsPem = toPem([yours.certificate]);
    const agent = new Agent(await client(yours, "cluster-1"), rootsPem);
    await eventually("the cluster is known", async () => (await server.session("cluster-1")) !== undefined);
    const session = await agent.connect(server);
    const refused = async (identity: Agent["identity"], code: string): Promise<void> => {
      await assert.rejects(new Agent(identity, rootsPem).connect(server), { code });
    };
    await refused(await client(yours, "cluster-2"), "failed_precondition");
    await refused(await client(yours, "cluster-1", "cluster-2"), "unauthenticated");
    await refused(await client(await root("another"), "cluster-1"), "unavailable");
    await refused(
      await leaf(yours, { uriSans: ["spiffe://mesh-relay/operator/root"], extendedKeyUsages: ["clientAuth"] }),
      "unauthenticated",
    );
    await assert.rejects(server.register("cluster-3"), { code: "failed_precondition" });
    await assert.rejects(server.enroll({ token: "x", trustBundle: rootsPem }), { code: "unavailable" });

    const before = await servedSerial(server);
    await world.api.apply(await serverSecret(yours));
    await eventually("the new certificate is served", async () => (await servedSerial(server)) !== before);
    assert.equal((await server.session("cluster-1"))?.epoch, session.epoch);
    assert.equal((await server.session("cluster-1"))?.connected, true);

    assert.equal(await server.revoke("cluster-1"), true);
    assert.equal((await session.ended)?.code, "permission_denied");
    await refused(agent.identity, "permission_denied");
  },
);

test(
  "real certificates - a Secret that does not fit is named and left as it is, and mended it is taken without a restart",
  { skip: skipWithout(API_SERVER_TOOLS) },
  async () => {
    await using world = await ReplicaWorld.start();
    const [yours, another] = [await root("your root"), await root("another")];
    const signingOf = async (issuer: Authority) => {
      const { keyPem, certificatePem } = await leaf(issuer, { ca: { pathLength: 0 } });
      return secret("relay-tls-signing-secret", { "tls.crt": certificatePem, "tls.key": keyPem });
    };
    await world.api.apply(rootSecret(yours), await signingOf(another));
    const version = async () =>
      (await world.get<{ metadata: { resourceVersion: string } }>("secret", "relay-tls-signing-secret"))?.metadata
        .resourceVersion;
    const before = await version();
    const server = await world.replica("server", { ready: false });
    await eventually("the wrong Secret is named", async () =>
      /secret gloo-mesh\/relay-tls-signing-secret: tls\.crt: issuer "CN=another"/.test(await server.readyz()),
    );
    assert.equal(await version(), before);
    assert.equal(await world.get("secret", "relay-server-tls-secret"), undefined);

    await world.api.apply(await signingOf(yours));
    await eventually("ready", async () => (await server.readyz()) === "ok\n");
    const agent = await server.enroll(await server.register("cluster-1"));
    const session = await agent.connect(server);
    assert.equal(session.epoch > 0n, true);
    // Agents go on when the signing certificate is replaced: what counts is the root, and the record.
    await world.api.apply(await signingOf(yours));
    await server.enroll(await server.register("cluster-2"));
    (await agent.connect(server)).close();
    const log = await server.process.log();
    assert.equal(log.match(/relay certificates cannot be loaded/g)?.length, 1, log);
    assert.doesNotMatch(log, /PRIVATE KEY|rjt1\./);
  },
);

test(
  "real certificates - the relay's root is rotated in the Secrets under two replicas, and a connected cluster stays in",
  { skip: skipWithout(API_SERVER_TOOLS) },
  async () => {
    await using world = await ReplicaWorld.start();
    const [one, two] = [await world.replica("one"), await world.replica("two")];
    const { RELAY_CA_STAGE_STABLE, RELAY_CA_STAGE_TRUSTING, RELAY_CA_STAGE_SWITCHED } = RelayCaStage;
    const old = await one.enroll(await one.register("cluster-1"));
    (await old.connect(two)).close();
    /** Each replica hears of a step from the Secrets. */
    const reached = (stage: RelayCaStage) =>
      eventually("both replicas stand there", async () => {
        const stages = await Promise.all([one, two].map(async (each) => (await each.relayCa())?.stage));
        return stages.every((each) => each === stage);
      });
    await reached(RELAY_CA_STAGE_STABLE);

    const trusting = await one.rotateRelayCa(RELAY_CA_STAGE_STABLE);
    assert.deepEqual([trusting?.stage, trusting?.roots.length], [RELAY_CA_STAGE_TRUSTING, 2]);
    await reached(RELAY_CA_STAGE_TRUSTING);
    await assert.rejects(two.rotateRelayCa(RELAY_CA_STAGE_STABLE), { code: "conflict" });
    await assert.rejects(two.rotateRelayCa(RELAY_CA_STAGE_TRUSTING), {
      code: "failed_precondition",
      message: /would shut out cluster-1/,
    });
    const both = await old.renewed(two);
    (await both.connect(one)).close();
    const before = await servedSerial(two);
    assert.equal((await two.rotateRelayCa(RELAY_CA_STAGE_TRUSTING))?.stage, RELAY_CA_STAGE_SWITCHED);
    await reached(RELAY_CA_STAGE_SWITCHED);
    await eventually(
      "the server shows a certificate of the new root",
      async () => (await servedSerial(two)) !== before,
    );
    (await both.connect(two)).close();
    await assert.rejects(one.rotateRelayCa(RELAY_CA_STAGE_SWITCHED), { code: "failed_precondition" });
    const fresh = await both.renewed(one);
    (await fresh.connect(two)).close();
    const last = await eventually("the record is heard", () => one.rotateRelayCa(RELAY_CA_STAGE_SWITCHED));
    assert.deepEqual([last.stage, last.roots.length], [RELAY_CA_STAGE_STABLE, 1]);
    await reached(RELAY_CA_STAGE_STABLE);
    assert.notEqual(last.roots[0]?.pin, trusting?.roots[0]?.pin);
    (await fresh.connect(one)).close();
    await eventually("the old root opens nothing", async () =>
      both.connect(one).then(
        (session) => session.close(),
        () => true,
      ),
    );
  },
);
