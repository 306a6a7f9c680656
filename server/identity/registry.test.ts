import assert from "node:assert/strict";
import type { KeyObject } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { createCsr } from "../../common/pki/csr.ts";
import { generateKey } from "../../common/pki/keys.ts";
import type { Log, LogFields } from "../../common/runtime/log.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { StateDirectory } from "../../common/runtime/state-directory.ts";
import { type PeerIdentity, readPeerIdentity } from "../../common/session/tls.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { openLocalIdentity } from "../store/local-identity.ts";
import type { ClusterRegistry } from "./registry.ts";
import { DEFAULT_SERVER_NAMES, type SignedIdentity } from "./relay-ca.ts";
import { formatJoinToken, makeJoinToken, parseJoinToken } from "./token.ts";

const MINUTE_MS = 60_000;
const PEER = "10.1.2.3:4567";
const REFUSED = { code: "unauthenticated", message: "the token is not valid" };

interface World extends AsyncDisposable {
  readonly clock: ManualClock;
  readonly registry: ClusterRegistry;
  readonly lines: LogFields[];
  /** The same state in a new process. */
  restart(): Promise<ClusterRegistry>;
}

async function startWorld(): Promise<World> {
  const path = await mkdtemp(join(tmpdir(), "registry-"));
  const clock = new ManualClock();
  const lines: LogFields[] = [];
  const log: Log = { ...silentLog, warn: (message, fields) => void lines.push({ message, ...fields }) };
  let directory: StateDirectory | undefined;
  const open = async (): Promise<ClusterRegistry> => {
    await directory?.close();
    directory = await StateDirectory.open(path, { program: "enterprise-networking" });
    return (await openLocalIdentity({ directory, names: DEFAULT_SERVER_NAMES, clock, log })).registry;
  };
  return {
    clock,
    lines,
    registry: await open(),
    restart: open,
    async [Symbol.asyncDispose]() {
      await directory?.close();
      await rm(path, { recursive: true });
    },
  };
}

async function request(): Promise<{ key: KeyObject; csr: string }> {
  const key = await generateKey({ type: "ec", curve: "P-256" });
  return {
    key,
    csr: await createCsr({ key, commonName: "cluster-2", uriSans: ["spiffe://mesh-relay/operator/root"] }),
  };
}

const peerOf = ({ certificate }: SignedIdentity): PeerIdentity => readPeerIdentity(certificate.x509.raw);

async function enrolled(registry: ClusterRegistry, cluster: string): Promise<PeerIdentity> {
  const { text } = await registry.register(cluster);
  const peer = peerOf(await registry.enroll(text, (await request()).csr, PEER));
  await registry.admit(peer);
  return peer;
}

describe("registry", () => {
  test("registry - the names in a request count for nothing, the token names the cluster", async () => {
    await using world = await startWorld();
    const { text } = await world.registry.register("cluster-1");
    const signed = await world.registry.enroll(text, (await request()).csr, PEER);
    assert.equal(signed.cluster, "cluster-1");
    assert.deepEqual(peerOf(signed).identity, { kind: "cluster", name: "cluster-1" });
    assert.equal(signed.certificate.x509.subjectAltName, "URI:spiffe://mesh-relay/cluster/cluster-1, DNS:cluster-1");
    assert.deepEqual(signed.certificate.x509.keyUsage, ["1.3.6.1.5.5.7.3.2"]);
  });

  test("registry - a lost answer costs nothing: the same token and key are answered again, also after a restart", async () => {
    await using world = await startWorld();
    const { text } = await world.registry.register("cluster-1");
    const { csr } = await request();
    await world.registry.enroll(text, csr, PEER);
    world.clock.advance(9 * MINUTE_MS);
    const registry = await world.restart();
    const again = await registry.enroll(text, csr, PEER);
    assert.equal((await registry.admit(peerOf(again))).state, "ENROLLED");
    world.clock.advance(2 * MINUTE_MS);
    await assert.rejects(registry.enroll(text, csr, PEER), REFUSED);
  });

  test("registry - a used token with another key is refused and logged as possible theft", async () => {
    await using world = await startWorld();
    const { text } = await world.registry.register("cluster-1");
    const first = peerOf(await world.registry.enroll(text, (await request()).csr, PEER));
    await assert.rejects(world.registry.enroll(text, (await request()).csr, "10.9.9.9:1"), REFUSED);
    const [line] = world.lines;
    assert.deepEqual([line?.["possibleTheft"], line?.["cluster"], line?.["peer"]], [true, "cluster-1", "10.9.9.9:1"]);
    assert.ok(!JSON.stringify(world.lines).includes(parseJoinToken(text)?.secret ?? "?"));
    assert.equal((await world.registry.admit(first)).name, "cluster-1");
  });

  test("registry - unknown, malformed, expired, replaced and wrong tokens get one and the same answer", async () => {
    await using world = await startWorld();
    const { registry, clock } = world;
    const { csr } = await request();
    const { text: replaced } = await registry.register("cluster-1");
    const { text } = await registry.register("cluster-1");
    const wrong = formatJoinToken({ id: parseJoinToken(text)?.id ?? "", secret: makeJoinToken().secret });
    for (const bad of ["", "rjt1.x.y", replaced, wrong, formatJoinToken(makeJoinToken())]) {
      await assert.rejects(registry.enroll(bad, csr, PEER), REFUSED);
    }
    clock.advance(30 * MINUTE_MS);
    await assert.rejects(registry.enroll(text, csr, PEER), REFUSED);
    const reasons = world.lines.map((line) => line["reason"]);
    assert.deepEqual(reasons, ["malformed", "malformed", "unknown", "wrong secret", "unknown", "expired"]);
  });

  test("registry - ten wrong secrets kill a token, over a restart too", async () => {
    await using world = await startWorld();
    const { text } = await world.registry.register("cluster-1");
    const { csr } = await request();
    const id = parseJoinToken(text)?.id ?? "";
    for (let count = 0; count < 10; count++) {
      const guess = formatJoinToken({ id, secret: makeJoinToken().secret });
      await assert.rejects(world.registry.enroll(guess, csr, PEER), REFUSED);
    }
    await assert.rejects((await world.restart()).enroll(text, csr, PEER), REFUSED);
    assert.equal(world.lines.at(-1)?.["reason"], "locked");
  });

  test("registry - a bad request does not use the token up", async () => {
    await using world = await startWorld();
    const { text } = await world.registry.register("cluster-1");
    const small = await createCsr({ key: await generateKey({ type: "rsa", bits: 2048 }) });
    await assert.rejects(world.registry.enroll(text, "no csr", PEER), { code: "invalid_argument" });
    const tampered = small.replace(/.(?=\n-----END)/, (character) => (character === "A" ? "B" : "A"));
    await assert.rejects(world.registry.enroll(text, tampered, PEER), { code: "invalid_argument" });
    assert.equal((await world.registry.enroll(text, small, PEER)).cluster, "cluster-1");
  });

  test("registry - an enrolled cluster needs to be said to need a new token, and keeps its certificate meanwhile", async () => {
    await using world = await startWorld();
    const { registry, clock } = world;
    const old = await enrolled(registry, "cluster-1");
    await assert.rejects(registry.register("cluster-1"), { code: "conflict", hint: /--renew-token/ });
    const { text } = await registry.register("cluster-1", { renew: true });
    await registry.admit(old);
    const fresh = peerOf(await registry.enroll(text, (await request()).csr, PEER));
    await registry.admit(fresh);
    clock.advance(6 * MINUTE_MS);
    await assert.rejects(registry.admit(old), { code: "unauthenticated", message: /replaced by a newer one/ });
  });

  test("registry - revocation holds for every certificate and token that the cluster ever had", async () => {
    await using world = await startWorld();
    const { registry } = world;
    const old = await enrolled(registry, "cluster-1");
    const { text: unused } = await registry.register("cluster-1", { renew: true });
    const closed: string[] = [];
    registry.onRevoked((cluster) => closed.push(cluster) > 0);
    assert.equal(await registry.revoke("cluster-1"), true);
    assert.deepEqual(closed, ["cluster-1"]);
    await assert.rejects(registry.admit(old), { code: "permission_denied" });
    await assert.rejects(registry.renew(old, (await request()).csr), { code: "permission_denied" });
    await assert.rejects(registry.enroll(unused, (await request()).csr, PEER), REFUSED);
    const again = await enrolled(registry, "cluster-1");
    await assert.rejects(registry.admit(old), { code: "unauthenticated", message: /not known/ });
    assert.equal((await (await world.restart()).admit(again)).state, "ENROLLED");
    await assert.rejects(registry.revoke("nobody"), { code: "not_found" });
  });

  test("registry - a live connection is refused once its certificate has expired", async () => {
    await using world = await startWorld();
    const peer = await enrolled(world.registry, "cluster-1");
    world.clock.advance(31 * 24 * 60 * MINUTE_MS);
    await assert.rejects(world.registry.admit(peer), { code: "unauthenticated", message: /expired at/ });
  });

  test("registry - one cluster's renewals are limited", async () => {
    await using world = await startWorld();
    const peer = await enrolled(world.registry, "cluster-1");
    const { csr } = await request();
    for (let count = 0; count < 10; count++) await world.registry.renew(peer, csr);
    await assert.rejects(world.registry.renew(peer, csr), { code: "resource_exhausted", retryAfterMs: 6 * MINUTE_MS });
  });

  test("registry - names and lives out of bounds are refused", async () => {
    await using world = await startWorld();
    for (const name of ["", "Cluster", "a.b", "x".repeat(64), "../up"]) {
      await assert.rejects(world.registry.register(name), { code: "invalid_argument" });
    }
    const tooLong = { ttlMs: 24 * 60 * MINUTE_MS + 1 };
    await assert.rejects(world.registry.register("cluster-1", tooLong), {
      code: "invalid_argument",
      message: /at most 86400 s/,
    });
  });
});
