import assert from "node:assert/strict";
import { test } from "node:test";
import { createRootCa, signCertificate, type Authority } from "../../common/pki/authority.ts";
import { toPem } from "../../common/pki/certificate.ts";
import { readCsr } from "../../common/pki/csr.ts";
import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { bundleDigest, identityUri } from "../../common/session/tls.ts";
import { AgentIdentity } from "./agent-identity.ts";
import type { StoredCredentials, StoredIdentity } from "./documents.ts";
import type { IdentityHome } from "./home.ts";

const EC = { type: "ec", curve: "P-256" } as const;
const DAY_MS = 86_400_000;
const LOOK_MS = 5_000;

async function makeAuthority(nowMs: number): Promise<Authority> {
  const key = await generateKey(EC);
  const span = { notBeforeMs: nowMs - DAY_MS, notAfterMs: nowMs + 1000 * DAY_MS };
  return { key, certificate: await createRootCa({ subject: { commonName: "root" }, key, pathLength: 0, ...span }) };
}

async function credentials(issuer: Authority, nowMs: number): Promise<StoredCredentials> {
  const key = await generateKey(EC);
  const certificate = await signCertificate({
    ...{ issuer, subject: { commonName: "cluster-1" }, publicKey: key, extendedKeyUsages: ["clientAuth"] },
    uriSans: [identityUri({ kind: "cluster", name: "cluster-1" })],
    ...{ notBeforeMs: nowMs - 1_000, notAfterMs: nowMs + 30 * DAY_MS },
  });
  const [certificatePem, trustBundlePem] = [toPem([certificate]), toPem([issuer.certificate])];
  return { keyPem: privateKeyToPem(key), certificatePem, trustBundlePem };
}

/** A home that others write to, too. */
async function open(stored?: StoredIdentity) {
  const clock = new ManualClock(Date.now());
  const shelf = { stored, writes: 0, fault: undefined as MeshError | undefined };
  const home: IdentityHome = {
    ...{ place: "shelf", noToken: "no token", hint: "", patient: true },
    document: {
      read: async () => shelf.stored,
      write: async (value) => {
        shelf.stored = value;
        shelf.writes += 1;
      },
    },
    tokens: {
      read: () => (shelf.fault ? Promise.reject(shelf.fault) : Promise.resolve(undefined)),
      remove: () => Promise.resolve(),
    },
    roots: () => Promise.reject(new MeshError("failed_precondition", "no roots")),
  };
  const enrollment = { address: "server:9901" };
  const identity = await AgentIdentity.open({
    ...{ home, cluster: "cluster-1", enrollment, clock, random: () => 0.5, log: silentLog },
  });
  return { identity, clock, shelf };
}

/** Lets what is under way come to its next wait. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test("agent identity - waits for one that somebody supplies, also while tokens cannot be read", async () => {
  const { identity, clock, shelf } = await open();
  shelf.fault = new MeshError("permission_denied", "no right");
  const stop = new AbortController();
  const ensured = identity.ensure(stop.signal);
  await settle();
  assert.equal(identity.credentials.value, undefined);
  const supplied = await credentials(await makeAuthority(clock.now()), clock.now());
  shelf.stored = { current: supplied, supplied: true };
  clock.advance(LOOK_MS);
  assert.equal((await ensured).certificatePem, supplied.certificatePem);
});

test("agent identity - a supplied one is taken anew when it is replaced, and never renewed or written", async () => {
  const now = Date.now();
  const authority = await makeAuthority(now);
  const [first, second] = [await credentials(authority, now), await credentials(authority, now)];
  const { identity, clock, shelf } = await open({ current: first, supplied: true });
  const stop = new AbortController();
  let asked = 0;
  const running = identity.run(stop.signal, () => {
    asked += 1;
    return Promise.reject(new MeshError("unimplemented", "this server signs nothing"));
  });
  clock.advance(5 * DAY_MS);
  await settle();
  shelf.stored = { current: second, supplied: true };
  clock.advance(LOOK_MS);
  await identity.credentials.until(({ certificatePem }) => certificatePem === second.certificatePem, stop.signal);
  assert.deepEqual([asked, shelf.writes], [0, 0]);
  stop.abort();
  await assert.rejects(running);
});

test("agent identity - one of its own that somebody deletes is put back, and one that cannot be used is no end", async () => {
  const now = Date.now();
  const authority = await makeAuthority(now);
  const current = await credentials(authority, now);
  const { identity, clock, shelf } = await open({ current });
  const stop = new AbortController();
  const running = identity.run(stop.signal, () => Promise.reject(new MeshError("unavailable", "no session")));
  await settle();
  shelf.stored = undefined;
  clock.advance(LOOK_MS);
  await settle();
  assert.deepEqual(shelf.stored, { current });
  shelf.stored = { current: { ...current, keyPem: "broken", certificatePem: "broken" } };
  clock.advance(LOOK_MS);
  await settle();
  assert.equal(identity.current().certificatePem, current.certificatePem);
  stop.abort();
  await assert.rejects(running);
});

test("agent identity - renews soon when the server has other roots, once for each, and not for those at hand", async () => {
  const now = Date.now();
  const authority = await makeAuthority(now);
  const current = await credentials(authority, now);
  const { identity, clock, shelf } = await open({ current });
  const both = current.trustBundlePem + toPem([(await makeAuthority(now)).certificate]);
  let asked = 0;
  const running = identity.run(new AbortController().signal, async (csr) => {
    asked += 1;
    const { publicKey } = await readCsr(csr);
    const certificate = await signCertificate({
      ...{ issuer: authority, subject: { commonName: "cluster-1" }, publicKey, extendedKeyUsages: ["clientAuth"] },
      uriSans: [identityUri({ kind: "cluster", name: "cluster-1" })],
      ...{ notBeforeMs: clock.now() - 1_000, notAfterMs: clock.now() + 30 * DAY_MS },
    });
    return { certificateChain: toPem([certificate]), trustBundle: both, serverTime: undefined };
  });
  running.catch(() => undefined);
  const passed = async (ms: number): Promise<number> => {
    clock.advance(ms);
    await settle();
    return asked;
  };
  await settle();
  identity.heardRoots(bundleDigest(current.trustBundlePem), 4_000);
  assert.equal(await passed(LOOK_MS), 0);
  identity.heardRoots(bundleDigest(both), 4_000);
  await passed(LOOK_MS);
  await identity.credentials.until(({ trustBundlePem }) => trustBundlePem === both, AbortSignal.timeout(10_000));
  assert.equal(shelf.stored?.current?.trustBundlePem, both);
  identity.heardRoots(bundleDigest(both), 4_000);
  identity.heardRoots(bundleDigest("roots that a renewal does not bring"), 4_000);
  await passed(LOOK_MS);
  await identity.credentials.until(() => asked === 2, AbortSignal.timeout(10_000));
  identity.heardRoots(bundleDigest("roots that a renewal does not bring"), 4_000);
  assert.equal(await passed(10 * LOOK_MS), 2);
});
