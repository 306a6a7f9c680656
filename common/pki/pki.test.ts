import assert from "node:assert/strict";
import { createPrivateKey, type KeyObject } from "node:crypto";
import { describe, test } from "node:test";
import fc from "fast-check";
import { MeshError } from "../runtime/errors.ts";
import { type Authority, createRootCa, signCertificate } from "./authority.ts";
import { type Certificate, certificateFacts, parseCertificate, parseCertificates, toPem } from "./certificate.ts";
import { buildChain } from "./chain.ts";
import { createCsr, readCsr } from "./csr.ts";
import { generateKey, loadPrivateKey, privateKeyToPem, publicKeyHash } from "./keys.ts";

const START_MS = Date.parse("2026-06-01T12:00:00Z");
const EC = { type: "ec", curve: "P-256" } as const;
const span = (days: number) => ({ notBeforeMs: START_MS, notAfterMs: START_MS + days * 86_400_000 });

async function makeRoot(
  commonName: string,
  { days = 100, key }: { days?: number; key?: KeyObject } = {},
): Promise<Authority> {
  const signer = key ?? (await generateKey(EC));
  return { key: signer, certificate: await createRootCa({ subject: { commonName }, key: signer, ...span(days) }) };
}

async function makeCa(issuer: Authority, commonName: string, key?: KeyObject): Promise<Authority> {
  const own = key ?? (await generateKey(EC));
  const subject = { commonName };
  return { key: own, certificate: await signCertificate({ issuer, subject, publicKey: own, ca: {}, ...span(50) }) };
}

describe("keys", () => {
  test("keys - reads what it, openssl and Vault write: PKCS8, PKCS1 and SEC1, with and without a final newline", async () => {
    const ec = await generateKey(EC);
    const rsa = await generateKey({ type: "rsa", bits: 2048 });
    const texts: [KeyObject, string][] = [
      [ec, privateKeyToPem(ec)],
      [ec, ec.export({ type: "sec1", format: "pem" }) as string],
      [rsa, rsa.export({ type: "pkcs1", format: "pem" }) as string],
      [rsa, privateKeyToPem(rsa).trim()],
      [ec, `-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${privateKeyToPem(ec)}`],
    ];
    for (const [key, text] of texts) assert.equal(publicKeyHash(loadPrivateKey(text)), publicKeyHash(key));
    assert.notEqual(publicKeyHash(ec), publicKeyHash(rsa));
  });

  test("keys - refuses what is no usable key, and never repeats it", async () => {
    const encrypted = (await generateKey(EC)).export({
      type: "pkcs8",
      format: "pem",
      cipher: "aes-256-cbc",
      passphrase: "p",
    });
    const ed25519 = createPrivateKey({
      key: { kty: "OKP", crv: "Ed25519", d: "A".repeat(43), x: "A".repeat(43) },
      format: "jwk",
    });
    const texts = [
      "",
      "hello",
      String(encrypted),
      privateKeyToPem(ed25519),
      "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    ];
    for (const text of texts) {
      assert.throws(
        () => loadPrivateKey(text, "ca-key.pem"),
        (error) =>
          error instanceof MeshError &&
          error.code === "invalid_argument" &&
          /^ca-key.pem: [^\n]{9,70}$/.test(error.message),
      );
    }
  });
});

describe("csr", () => {
  test("csr - carries subject, names and key to the reader", async () => {
    for (const key of [await generateKey(EC), await generateKey({ type: "rsa", bits: 2048 })]) {
      const names = {
        uriSans: ["spiffe://cluster.local/ns/a/sa/b"],
        dnsSans: ["istiod.istio-system.svc"],
        ipSans: ["127.0.0.1"],
      };
      const { publicKey, ...rest } = await readCsr(
        await createCsr({ key, organization: "gloo-mesh, inc", commonName: "c", ...names }),
      );
      assert.deepEqual(rest, { subject: { organization: "gloo-mesh, inc", commonName: "c" }, ...names });
      assert.equal(publicKeyHash(publicKey), publicKeyHash(key));
    }
  });

  test("csr - refuses a request whose content was changed after signing, and any garbage", async () => {
    const csr = await createCsr({ key: await generateKey(EC), commonName: "cluster-1" });
    const der = Buffer.from(csr.replace(/-----.*-----/g, ""), "base64").toString("latin1");
    const forged = Buffer.from(der.replace("cluster-1", "cluster-2"), "latin1").toString("base64");
    const pem = (body: string) => `-----BEGIN CERTIFICATE REQUEST-----\n${body}\n-----END CERTIFICATE REQUEST-----`;
    await assert.rejects(readCsr(pem(forged)), { code: "invalid_argument", message: /signature does not verify/ });
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.base64String().map(pem)), async (text) => {
        await assert.rejects(readCsr(text), (error) => error instanceof MeshError && error.code === "invalid_argument");
      }),
      { numRuns: 50 },
    );
  });
});

describe("certificate", () => {
  test("certificate - facts of a root, a ca and a leaf are what was asked for", async () => {
    const root = await makeRoot("root", { days: 365 * 40 });
    const rootFacts = certificateFacts(root.certificate);
    assert.match(rootFacts.serial, /^[4-7][0-9a-f](:[0-9a-f]{2}){15}$/);
    assert.match(rootFacts.sha256Fingerprint, /^[0-9a-f]{64}$/);
    assert.equal(rootFacts.notAfterMs, span(365 * 40).notAfterMs);
    assert.equal(rootFacts.skiHex, rootFacts.akiHex);
    assert.deepEqual(
      [rootFacts.isCa, rootFacts.keyUsages, rootFacts.pathLength],
      [true, ["keyCertSign", "cRLSign"], undefined],
    );
    const leaf = await signCertificate({
      issuer: root,
      subject: { organization: "o", commonName: "leaf" },
      publicKey: await generateKey(EC),
      uriSans: ["spiffe://a/b"],
      dnsSans: ["a.b"],
      ipSans: ["127.0.0.1"],
      extendedKeyUsages: ["serverAuth"],
      ...span(1),
    });
    const facts = certificateFacts(leaf);
    assert.deepEqual([facts.subject, facts.issuer, facts.isCa], ["O=o, CN=leaf", "CN=root", false]);
    assert.deepEqual([facts.uriSans, facts.dnsSans, facts.ipSans], [["spiffe://a/b"], ["a.b"], ["127.0.0.1"]]);
    assert.deepEqual([facts.akiHex, facts.extendedKeyUsages], [rootFacts.skiHex, ["1.3.6.1.5.5.7.3.1"]]);
    assert.ok(leaf.x509.checkIssued(root.certificate.x509) && leaf.x509.verify(root.certificate.x509.publicKey));
  });

  test("certificate - a bundle is read in its order, bytes kept, text around it skipped", async () => {
    const [a, b] = [(await makeRoot("a")).certificate, (await makeRoot("b")).certificate];
    const crlf = b.pem.replaceAll("\n", "\r\n");
    const read = parseCertificates(`subject=a\n${a.pem}\n\nissuer=b\n${crlf}`);
    assert.deepEqual(
      read.map(({ pem }) => pem),
      [a.pem, crlf],
    );
    assert.equal(toPem([a, b]), `${a.pem}\n${b.pem}\n`);
    assert.throws(() => parseCertificate(toPem([a, b]), "root"), {
      code: "invalid_argument",
      message: "root: 2 certificates, want 1",
    });
  });

  test("certificate - garbage is refused by name", () => {
    const block = (body: string) => `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----`;
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String().map(block)), (text) => {
        assert.throws(() => parseCertificates(text, "bundle"), { code: "invalid_argument", message: /^bundle: / });
      }),
    );
  });
});

describe("chain", () => {
  test("chain - is found in any order of the pool, with duplicates, strangers and the certificate itself in it", async () => {
    const root = await makeRoot("root");
    const outer = await makeCa(root, "outer");
    const inner = await makeCa(outer, "inner");
    const { certificate } = await makeCa(inner, "istiod");
    const stranger = await makeRoot("root");
    const pool = [certificate, root, outer, inner, stranger, root].map((each) =>
      "x509" in each ? each : each.certificate,
    );
    fc.assert(
      fc.property(fc.shuffledSubarray(pool, { minLength: pool.length }), (shuffled) => {
        const chain = buildChain(certificate, shuffled);
        assert.deepEqual(chain.intermediates, [inner.certificate, outer.certificate]);
        assert.equal(chain.root, root.certificate);
      }),
      { numRuns: 20 },
    );
  });

  test("chain - of several issuers with one key takes the shortest way, and the one that lives longest", async () => {
    const root = await makeRoot("root", { days: 100 });
    const renewed = await makeRoot("root", { days: 300, key: root.key });
    const other = await makeRoot("other");
    const cross = await makeCa(other, "root", root.key);
    const { certificate } = await makeCa(root, "istiod");
    const chain = buildChain(certificate, [
      cross.certificate,
      root.certificate,
      other.certificate,
      renewed.certificate,
    ]);
    assert.deepEqual([chain.intermediates, chain.root], [[], renewed.certificate]);
    const crossed = buildChain(certificate, [cross.certificate, other.certificate]);
    assert.deepEqual([crossed.intermediates, crossed.root], [[cross.certificate], other.certificate]);
  });

  test("chain - two authorities that sign each other end in an error and no loop", async () => {
    const [a, b] = [await makeRoot("a"), await makeRoot("b")];
    const loop: Certificate[] = [(await makeCa(a, "b", b.key)).certificate, (await makeCa(b, "a", a.key)).certificate];
    const { certificate } = await makeCa(a, "istiod");
    assert.throws(() => buildChain(certificate, loop), {
      code: "ca_unsound",
      message: /issuer "CN=.*not among the 2 certificates/,
    });
    assert.throws(() => buildChain(certificate, []), { code: "ca_unsound", message: /issuer "CN=a" of "CN=istiod"/ });
  });
});
