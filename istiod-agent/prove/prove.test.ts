import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test, type TestContext } from "node:test";
import { type Authority, createRootCa, signCertificate } from "../../common/pki/authority.ts";
import { parseCertificate } from "../../common/pki/certificate.ts";
import { createCsr, readCsr } from "../../common/pki/csr.ts";
import { generateKey, loadPrivateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { type Clock, systemClock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { unary } from "../../common/session/handlers.ts";
import { startGrpcServer } from "../../common/session/server.ts";
import { ReloadableServerCredentials } from "../../common/session/tls.ts";
import {
  type IstioCertificateRequest,
  type IstioCertificateResponse,
  IstioCertificateServiceService,
} from "../../proto/gen/istio/v1/auth/ca.ts";
import { proveSigningCa, type SigningCa } from "../issue/signing-ca.ts";
import { fileCredential } from "../pod/credential.ts";
import { istiodClient } from "./istiod.ts";
import { type CreateCertificate, prove, proveWithin } from "./prove.ts";

const EC = { type: "ec", curve: "P-256" } as const;
const SERVER_NAME = "istiod.istio-system.svc";
const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 };
const { signal } = new AbortController();

async function makeCa(root: Authority): Promise<SigningCa> {
  const key = await generateKey(EC);
  const subject = { commonName: "istiod" };
  const certificate = await signCertificate({ issuer: root, subject, publicKey: key, ca: {}, ...validity });
  return proveSigningCa({ key, certificate, pool: [root.certificate], nowMs: Date.now() });
}

let ca: SigningCa;
/** The one before: same root, same names, another key. */
let older: SigningCa;

before(async () => {
  const key = await generateKey(EC);
  const root = { key, certificate: await createRootCa({ subject: { commonName: "root" }, key, ...validity }) };
  [ca, older] = await Promise.all([makeCa(root), makeCa(root)]);
});

const authorityOf = ({ keyPem, certificatePem }: SigningCa): Authority => ({
  key: loadPrivateKey(keyPem),
  certificate: parseCertificate(certificatePem),
});

/** What istiod does: signs with `signer`, hands out its chain file and its root file. */
async function signAsIstiod(signer: SigningCa, csrPem: string): Promise<string[]> {
  const { publicKey } = await readCsr(csrPem);
  const leaf = await signCertificate({ issuer: authorityOf(signer), subject: {}, publicKey, ...validity });
  return [leaf.pem, ...signer.chainPems, signer.rootPem];
}

const istiod =
  (signer: SigningCa, change: (chain: string[]) => string[] = (chain) => chain): CreateCertificate =>
  async (csrPem) =>
    change(await signAsIstiod(signer, csrPem));

const ask = (createCertificate: CreateCertificate) => prove(ca, { createCertificate, clock: systemClock, signal });

test("proof - a leaf of our key, signed by the installed intermediate up to its root, is proof", async () => {
  const outcome = await ask(istiod(ca));
  assert.equal(outcome.kind, "proved");
  assert.ok(outcome.evidence.includes(ca.facts.serial));
});

test("proof - an intermediate of the same name and root is told apart by its signature", async () => {
  const outcome = await ask(istiod(older));
  assert.equal(outcome.kind, "other");
  assert.ok(outcome.why.includes(older.facts.skiHex ?? "none"));
});

const FRAUDS: readonly (readonly [string, () => CreateCertificate, RegExp])[] = [
  [
    "a chain without the intermediate",
    () => istiod(ca, ([leaf = "", , root = ""]) => [leaf, root]),
    /hands out no "CN=istiod"/,
  ],
  ["no certificate", () => istiod(ca, () => ["nonsense"]), /no pem certificate/],
  [
    "a leaf of another key",
    () => async () => signAsIstiod(ca, await createCsr({ key: await generateKey(EC) })),
    /certificate of another key/,
  ],
  [
    "a refusal",
    () => () => Promise.reject(new MeshError("unauthenticated", "request authenticate failure")),
    /authenticate failure/,
  ],
];

for (const [what, answer, why] of FRAUDS) {
  test(`proof - ${what} is no proof and says why`, async () => {
    const outcome = await ask(answer());
    assert.equal(outcome.kind, "refused");
    assert.match(outcome.why, why);
  });
}

/** A clock that jumps instead of waiting. */
function jumpingClock(): Clock {
  let nowMs = Date.now();
  return { now: () => nowMs, sleep: (ms) => Promise.resolve(void (nowMs += ms)) };
}

async function proveInWindows(createCertificate: CreateCertificate) {
  let touches = 0;
  const touch = (): void => void (touches += 1);
  const timing = { windowMs: 5_000, intervalMs: 1_000, clock: jumpingClock() };
  const outcome = await proveWithin(ca, { createCertificate, signal, touch, ...timing });
  return { outcome, touches };
}

test("proof window - an istiod that takes the files late is proved without a touch", async () => {
  let asked = 0;
  const late: CreateCertificate = (csr) => signAsIstiod((asked += 1) > 3 ? ca : older, csr);
  const { outcome, touches } = await proveInWindows(late);
  assert.deepEqual([outcome.kind, outcome.touched, touches, asked], ["proved", false, 0, 4]);
});

test("proof window - without proof the files are touched once, then it is said so", async () => {
  const { outcome, touches } = await proveInWindows(istiod(older));
  assert.deepEqual([outcome.kind, outcome.touched, touches], ["other", true, 1]);
});

test("proof window - where nothing listens nothing is touched", async () => {
  const nobody = new MeshError("unavailable", "istiod: connect ECONNREFUSED 127.0.0.1:15012");
  const { outcome, touches } = await proveInWindows(() => Promise.reject(nobody));
  assert.deepEqual([outcome.kind, touches], ["absent", 0]);
});

/** A TLS server with Istio's service, whose own certificate is of `servedBy`. */
async function startIstiod(servedBy: SigningCa) {
  const key = await generateKey(EC);
  const issuer = authorityOf(servedBy);
  const leaf = await signCertificate({ issuer, subject: {}, publicKey: key, dnsSans: [SERVER_NAME], ...validity });
  const certificatePem = `${leaf.pem}\n${servedBy.certificatePem}\n`;
  const seen: unknown[] = [];
  const createCertificate = unary(async (request: IstioCertificateRequest): Promise<IstioCertificateResponse> => {
    seen.push(request.validityDuration);
    return { certChain: await signAsIstiod(ca, request.csr) };
  });
  const server = await startGrpcServer({
    listen: "127.0.0.1:0",
    credentials: new ReloadableServerCredentials({
      keyPem: privateKeyToPem(key),
      certificatePem,
      minVersion: "TLSv1.2",
    }),
    services: [{ definition: IstioCertificateServiceService, implementation: { createCertificate } }],
    authorize: ({ metadata }) => seen.push(metadata.get("authorization")[0]),
  });
  return { address: server.address, seen, [Symbol.asyncDispose]: () => server.close(0) };
}

/** A client whose token lies in a file until the end of the test. */
function client(context: TestContext, address: string, rootPem: string): CreateCertificate {
  const folder = mkdtempSync(join(tmpdir(), "prove-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const tokenPath = join(folder, "istio-ca-token");
  writeFileSync(tokenPath, "jwt\n", { mode: 0o600 });
  return istiodClient({ address, serverName: SERVER_NAME, rootsPem: () => rootPem, token: fileCredential(tokenPath) });
}

test("istiod client - shows its token to the istiod whose certificate verifies, and to no other", async (context) => {
  await using server = await startIstiod(ca);
  assert.equal((await ask(client(context, server.address, ca.rootPem))).kind, "proved");
  assert.deepEqual(server.seen, ["Bearer jwt", 3600n]);
  const key = await generateKey(EC);
  const stranger = await createRootCa({ subject: { commonName: "root" }, key, ...validity });
  const outcome = await ask(client(context, server.address, stranger.pem));
  assert.equal(outcome.kind, "refused");
  assert.equal(server.seen.length, 2);
});

test("istiod client - nothing that listens is absence", async (context) => {
  const server = await startIstiod(ca);
  await server[Symbol.asyncDispose]();
  assert.equal((await ask(client(context, server.address, ca.rootPem))).kind, "absent");
});
