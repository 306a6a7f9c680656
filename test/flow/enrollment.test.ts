import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { createRootCa } from "../../common/pki/authority.ts";
import { parseCertificate } from "../../common/pki/certificate.ts";
import { createCsr } from "../../common/pki/csr.ts";
import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { Dialer } from "../../common/session/client.ts";
import { identityUri } from "../../common/session/tls.ts";
import { AdminServiceService, ListSessionsRequest, RegistryServiceService } from "../../proto/gen/admin/v1/admin.ts";
import { EnrollmentServiceService } from "../../proto/gen/enrollment/v1/enrollment.ts";
import { RelayServiceService } from "../../proto/gen/relay/v1/relay.ts";
import { formatJoinToken, makeJoinToken } from "../../server/identity/token.ts";
import { eventually } from "../harness/wait.ts";

import {
  DAY_MS,
  EC,
  SPAN,
  connectAs,
  dial,
  enrolledAgent,
  openAgent,
  readRelayCa,
  renewNow,
  serverSerial,
  signClient,
  startWorld,
} from "./identity-world.ts";

describe("enrollment", () => {
  test("enrollment - an agent with a token and a pin gets the identity of its cluster, and keeps it over a restart", async () => {
    await using world = await startWorld();
    const { identity, directory, tokenFile } = await enrolledAgent(world, "cluster-1");
    const credentials = identity.current();
    assert.equal(await connectAs(world, credentials), "cluster-1");
    assert.equal(existsSync(tokenFile), false);
    assert.equal(credentials.notAfterMs, Math.floor((world.clock.now() + 30 * DAY_MS) / 1000) * 1000);
    await directory.close();
    const again = await openAgent(world, "cluster-1");
    assert.equal((await again.identity.ensure(world.signal)).serial, credentials.serial);
    assert.match(await readFile(world.folder.file("server", "clusters.json"), "utf8"), /"state": "ENROLLED"/);
    await again.directory.close();
  });

  test("enrollment - a server of another root never sees the token", async () => {
    await using world = await startWorld();
    const { identity, tokenFile, directory } = await openAgent(world, "cluster-1", {
      trustPin: `sha256:${"0".repeat(64)}`,
    });
    await writeFile(tokenFile, (await world.identity.registry.register("cluster-1")).text);
    await assert.rejects(identity.ensure(world.signal), {
      code: "unauthenticated",
      message: /its root is sha256:[0-9a-f]{64}, want sha256:000/,
    });
    assert.equal(world.identity.registry.get("cluster-1")?.token?.used, undefined);
    await directory.close();
  });

  test("enrollment - takes a root file for the pin, and another name for the address", async () => {
    await using world = await startWorld();
    const trustBundleFile = world.folder.file("root.pem");
    await writeFile(trustBundleFile, world.identity.pki.ca.trustBundlePem);
    const changes = { trustPin: undefined, trustBundleFile, authority: "enterprise-networking.gloo-mesh" };
    const { identity, tokenFile, directory } = await openAgent(world, "cluster-1", changes);
    await writeFile(tokenFile, (await world.identity.registry.register("cluster-1")).text);
    assert.equal((await identity.ensure(world.signal)).cluster, "cluster-1");
    await directory.close();
  });

  test("enrollment - guessing from one address is slowed down", async () => {
    await using world = await startWorld();
    const tls = { rootsPem: world.identity.pki.ca.trustBundlePem, minVersion: "TLSv1.3" } as const;
    const dialer = new Dialer({ address: world.enrollment.address, tls, peer: "server" });
    const call = { signal: world.signal, timeoutMs: 20_000 };
    const guess = () =>
      dialer.unary(
        EnrollmentServiceService.enroll,
        { token: formatJoinToken(makeJoinToken()), certificateSigningRequest: "", agentVersion: "" },
        call,
      );
    for (let count = 0; count < 20; count++) await assert.rejects(guess(), { code: "unauthenticated" });
    await assert.rejects(guess(), { code: "resource_exhausted", retryAfterMs: 500 });
    dialer.close();
  });

  test("enrollment - without identity and token the agent says what to run", async () => {
    await using world = await startWorld();
    const { identity, directory } = await openAgent(world, "cluster-1");
    await assert.rejects(identity.ensure(world.signal), {
      code: "failed_precondition",
      hint: /meshctl cluster register cluster-1/,
    });
    await directory.close();
  });

  test("enrollment - a renewed certificate takes over at its first use, and the old one is refused after the grace", async () => {
    await using world = await startWorld({ startMs: Date.now() - 10 * DAY_MS });
    const { identity, directory } = await enrolledAgent(world, "cluster-1");
    const old = identity.current();
    await connectAs(world, old);
    await (await renewNow(world, identity)).stop();
    const renewed = identity.current();
    assert.equal(await connectAs(world, old), "cluster-1");
    assert.equal(await connectAs(world, renewed), "cluster-1");
    world.clock.advance(4 * 60_000);
    assert.equal(await connectAs(world, old), "cluster-1");
    world.clock.advance(2 * 60_000);
    await assert.rejects(connectAs(world, old), { code: "unauthenticated", message: /replaced by a newer one/ });
    assert.notEqual(renewed.keyPem, old.keyPem);
    await directory.close();
  });

  test("enrollment - a lost answer costs nothing: the agent asks again with the key that it had stored", async () => {
    await using world = await startWorld({ loseAnswers: 1 });
    const first = await openAgent(world, "cluster-1");
    await writeFile(first.tokenFile, (await world.identity.registry.register("cluster-1")).text);
    await assert.rejects(first.identity.ensure(world.signal), { code: "internal" });
    await first.directory.close();
    const again = await openAgent(world, "cluster-1");
    assert.equal(await connectAs(world, await again.identity.ensure(world.signal)), "cluster-1");
    await again.directory.close();
  });

  test("enrollment - an agent goes back to its last certificate when a restored server knows only that one", async () => {
    await using world = await startWorld();
    const { identity, directory } = await enrolledAgent(world, "cluster-1");
    const old = identity.current();
    const running = await renewNow(world, identity);
    assert.equal(await identity.refused(old), false);
    assert.equal(await identity.refused(identity.current()), true);
    assert.equal(identity.current().serial, old.serial);
    assert.equal(await identity.refused(identity.current()), false);
    await running.stop();
    const again = await renewNow(world, identity);
    await identity.confirm(identity.current());
    assert.equal(await identity.refused(identity.current()), false);
    await again.stop();
    await directory.close();
  });

  test("enrollment - the server's own certificate is renewed under live streams", async () => {
    await using world = await startWorld({ startMs: Date.now() - 25 * DAY_MS });
    const { identity, directory } = await enrolledAgent(world, "cluster-1");
    const stop = new AbortController();
    const running = world.identity.pki.run(stop.signal);
    const dialer = dial(world, identity.current());
    const call = { signal: world.signal, timeoutMs: 20_000 };
    const renew = async () => {
      const request = { certificateSigningRequest: await createCsr({ key: await generateKey(EC) }) };
      await dialer.unary(RelayServiceService.renewCertificate, request, call);
    };
    await renew();
    const before = await serverSerial(world.enrollment.address);
    world.clock.advance(21 * DAY_MS);
    await eventually("a new server certificate", async () => (await serverSerial(world.enrollment.address)) !== before);
    await renew();
    assert.equal(await connectAs(world, identity.current()), "cluster-1");
    dialer.close();
    stop.abort();
    await assert.rejects(running);
    await directory.close();
  });

  test("enrollment - an expired or revoked agent goes on, says so, and takes a new token while it runs", async () => {
    await using world = await startWorld();
    const { identity, directory, tokenFile } = await enrolledAgent(world, "cluster-1");
    const old = identity.current();
    await world.identity.registry.revoke("cluster-1");
    await assert.rejects(connectAs(world, old), { code: "permission_denied", message: /cluster cluster-1 is revoked/ });
    const stop = new AbortController();
    const running = identity.run(stop.signal, () => Promise.reject(new Error("no session")));
    world.clock.advance(31 * DAY_MS);
    await identity.status.until(({ kind }) => kind === "expired", AbortSignal.timeout(30_000));
    await writeFile(tokenFile, (await world.identity.registry.register("cluster-1")).text);
    const renewed = identity.credentials.until(({ serial }) => serial !== old.serial, AbortSignal.timeout(30_000));
    const ticking = setInterval(() => world.clock.advance(5_000), 20);
    const fresh = await renewed.finally(() => clearInterval(ticking));
    assert.equal(world.identity.registry.get("cluster-1")?.next?.serial, fresh.serial);
    stop.abort();
    await assert.rejects(running);
    await directory.close();
  });
});

describe("listeners", () => {
  test("listeners - 9900 refuses in the handshake who has no certificate of the relay's CA", async () => {
    await using world = await startWorld();
    const { identity, directory } = await enrolledAgent(world, "cluster-1");
    const forger = await generateKey(EC);
    const subject = { commonName: "cluster-1" };
    const root = { key: forger, certificate: await createRootCa({ subject, key: forger, ...SPAN }) };
    const forged = await signClient(root, { uriSans: [identityUri({ kind: "cluster", name: "cluster-1" })] });
    await assert.rejects(connectAs(world, undefined), { code: "unavailable" });
    await assert.rejects(connectAs(world, forged), { code: "unavailable" });
    assert.equal(await connectAs(world, identity.current()), "cluster-1");
    await directory.close();
  });

  test("listeners - 9900 refuses certificates of its own CA that name nobody, two, or were never issued", async () => {
    await using world = await startWorld();
    const { directory } = await enrolledAgent(world, "cluster-1");
    const { keyPem, certificatePem } = await readRelayCa(world);
    const root = { key: createPrivateKey(keyPem), certificate: parseCertificate(certificatePem) };
    const uri = (name: string) => identityUri({ kind: "cluster", name });
    const refusals: [string[], RegExp][] = [
      [[], /must name one relay identity, it names 0/],
      [[uri("cluster-1"), uri("cluster-2")], /it names 2/],
      [["spiffe://elsewhere/cluster/cluster-1"], /must name one relay identity/],
      [[uri("cluster-1")], /certificate of cluster cluster-1 is not known/],
    ];
    for (const [uriSans, message] of refusals) {
      const attempt = connectAs(world, await signClient(root, { uriSans, dnsSans: ["cluster-1"] }));
      await assert.rejects(attempt, { code: "unauthenticated", message });
    }
    const stranger = await signClient(root, { uriSans: [uri("cluster-9")] });
    await assert.rejects(connectAs(world, stranger), { code: "failed_precondition" });
    await directory.close();
  });

  test("listeners - an operator may administer but not connect, an agent the reverse, and 9901 serves Enroll alone", async () => {
    await using world = await startWorld();
    const { identity, directory } = await enrolledAgent(world, "cluster-1");
    const key = await generateKey(EC);
    const signed = await world.identity.registry.issueOperator("alice", await createCsr({ key }));
    const operator = { keyPem: privateKeyToPem(key), certificatePem: signed.chainPem };
    await assert.rejects(connectAs(world, operator), {
      code: "permission_denied",
      message: /operator alice is not a cluster/,
    });
    const call = { signal: world.signal, timeoutMs: 20_000 };
    const asOperator = dial(world, operator);
    const { sessions } = await asOperator.unary(AdminServiceService.listSessions, ListSessionsRequest.create(), call);
    assert.deepEqual(
      sessions.map(({ cluster, identity: state }) => [cluster, state]),
      [["cluster-1", "ENROLLED"]],
    );
    const unknown = { ...AdminServiceService.listSessions, path: "/admin.v1.AdminService/DropTables" };
    await assert.rejects(asOperator.unary(unknown, ListSessionsRequest.create(), call), { code: "unimplemented" });
    asOperator.close();
    const asAgent = dial(world, identity.current());
    const revoke = asAgent.unary(RegistryServiceService.revokeCluster, { cluster: "cluster-1" }, call);
    await assert.rejects(revoke, { code: "permission_denied", message: /cluster cluster-1 is not an operator/ });
    asAgent.close();
    const tls = { rootsPem: world.identity.pki.ca.trustBundlePem, minVersion: "TLSv1.3" } as const;
    const onEnrollment = new Dialer({ address: world.enrollment.address, tls, peer: "server" });
    const register = { cluster: "mine", tokenTtlSeconds: 0, renewToken: false };
    await assert.rejects(onEnrollment.unary(RegistryServiceService.registerCluster, register, call), {
      code: "unimplemented",
    });
    onEnrollment.close();
    await directory.close();
  });
});
