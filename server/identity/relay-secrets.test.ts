import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Authority } from "../../common/pki/authority.ts";
import { parseCertificate, parseCertificates } from "../../common/pki/certificate.ts";
import { generateKey, loadPrivateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { type MadeFiles, makeRoot, makeServer, makeSigning } from "./make-relay-ca.ts";
import { DEFAULT_SERVER_NAMES, SigningCa } from "./relay-ca.ts";
import { readRoot, readServer, readSigning } from "./relay-secrets.ts";

const NOW_MS = Date.parse("2026-06-01T00:00:00Z");

const authorityOf = (files: MadeFiles): Authority => ({
  certificate: parseCertificate(files["tls.crt"]),
  key: loadPrivateKey(files["tls.key"]),
});

async function madePki() {
  const root = await makeRoot(NOW_MS);
  const signing = await makeSigning(authorityOf(root), NOW_MS);
  const trusted = readRoot(root);
  const ca = new SigningCa(await readSigning(signing, trusted, NOW_MS), new ManualClock(NOW_MS));
  return { root, signing, server: await makeServer(ca, DEFAULT_SERVER_NAMES), trusted, ca };
}

describe("relay secrets", () => {
  test("relay secrets - what the server makes it can read: three generations, the root shown last", async () => {
    const { server, trusted, root, ca } = await madePki();
    const { certificatePem, leaf } = readServer(server, trusted);
    assert.equal(parseCertificates(certificatePem).length, 3);
    assert.equal(parseCertificates(certificatePem).at(-1)?.pem, root["tls.crt"].trim());
    assert.ok(leaf.x509.checkHost("enterprise-networking.gloo-mesh"));
    assert.equal(ca.trustBundlePem, root["ca.crt"]);
  });

  test("relay secrets - a client certificate is told from one that another CA below the same root signed", async () => {
    const { ca, root, trusted } = await madePki();
    const { publicKey } = (await ca.signClient(await generateKey({ type: "ec", curve: "P-256" }), OPERATOR)).certificate
      .x509;
    const other = await makeSigning(authorityOf(root), NOW_MS);
    const neighbour = new SigningCa(await readSigning(other, trusted, NOW_MS), new ManualClock(NOW_MS));
    assert.equal(ca.hasSigned((await ca.signClient(publicKey, OPERATOR)).certificate.x509.raw), true);
    assert.equal(ca.hasSigned((await neighbour.signClient(publicKey, OPERATOR)).certificate.x509.raw), false);
  });

  test("relay secrets - a root without its key is trusted and makes nothing; further roots are trusted too", async () => {
    const [one, other] = [await makeRoot(NOW_MS), await makeRoot(NOW_MS)];
    const { trusted, authority } = readRoot({ "ca.crt": one["ca.crt"] + other["ca.crt"] });
    assert.deepEqual([trusted.length, authority], [2, undefined]);
    const signing = await makeSigning(authorityOf(other), NOW_MS);
    const ca = new SigningCa(await readSigning(signing, { trusted, authority }, NOW_MS), new ManualClock(NOW_MS));
    assert.equal(ca.trustBundlePem, other["ca.crt"] + one["ca.crt"]);
  });

  test("relay secrets - the root's key may lie apart, and is taken only with the root that it is of", async () => {
    const [one, other] = [await makeRoot(NOW_MS), await makeRoot(NOW_MS)];
    assert.equal(readRoot({ "ca.crt": one["ca.crt"] }, one).authority?.certificate.pem, one["tls.crt"].trim());
    assert.equal(readRoot({ "ca.crt": one["ca.crt"] }, other).authority, undefined);
    assert.equal(readRoot(other, one).authority?.certificate.pem, other["tls.crt"].trim());
  });

  test("relay secrets - what does not fit is refused by what it lacks, and no key is told", async () => {
    const { root, signing, server, trusted } = await madePki();
    const foreign = await madePki();
    const key = privateKeyToPem(await generateKey({ type: "ec", curve: "P-256" }));
    const refusals: readonly (readonly [() => unknown, RegExp])[] = [
      [() => readRoot({}), /^ca\.crt is missing$/],
      [() => readRoot({ "ca.crt": "text" }), /^ca\.crt: no pem certificate/],
      [() => readRoot({ "ca.crt": server["tls.crt"] }), /is no certificate authority/],
      [() => readRoot({ ...root, "tls.key": key }), /^tls\.key does not belong to tls\.crt$/],
      [() => readRoot({ ...root, "ca.crt": foreign.root["ca.crt"] }), /^tls\.crt is not among the roots in ca\.crt$/],
      [() => readSigning({ "tls.crt": signing["tls.crt"] }, trusted, NOW_MS), /^tls\.key is missing$/],
      [() => readSigning({ ...signing, "tls.key": "secret-word" }, trusted, NOW_MS), /^tls\.key/],
      [() => readSigning(server, trusted, NOW_MS), /basic constraints do not say CA:TRUE/],
      [() => readSigning(foreign.signing, trusted, NOW_MS), /its root is not in relay-root-tls-secret/],
      [() => readSigning(signing, trusted, NOW_MS + 11 * 365 * 86_400_000), /expired at/],
      [() => readServer(foreign.server, trusted), /its root is not in relay-root-tls-secret/],
      [() => readServer({ ...server, "tls.key": key }, trusted), /^tls\.key does not belong/],
    ];
    for (const [read, message] of refusals) {
      await assert.rejects(
        async () => read(),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, "state_corrupt");
          assert.match(error.message, message);
          assert.doesNotMatch(error.message, /PRIVATE|secret-word/);
          return true;
        },
      );
    }
  });
});

const OPERATOR = { kind: "operator", name: "root" } as const;
