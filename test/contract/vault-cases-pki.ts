import assert from "node:assert/strict";
import { certificateFacts, parseCertificate, parseCertificates } from "../../common/pki/certificate.ts";
import { buildChain } from "../../common/pki/chain.ts";
import { createCsr, readCsr } from "../../common/pki/csr.ts";
import { generateKey, loadPrivateKey, publicKeyHash } from "../../common/pki/keys.ts";
import { checkCa } from "../../common/pki/soundness.ts";
import { EC, type Request, SIGN, SYSTEM_TTL_S, type VaultCases } from "./vault-subject.ts";

export const PKI_CASES: VaultCases = {
  "a mount without a ca says so, and takes one as a bundle": async (vault) => {
    await vault.done(["POST", "sys/mounts/empty", { body: { type: "pki" } }]);
    await vault.refused(400, ["no default issuer currently configured"], ["GET", "empty/cert/ca", { token: null }]);
    await vault.refused(404, [], ["GET", "empty/issuers?list=true", { token: null }]);
    await vault.refused(404, [], ["GET", "empty/keys?list=true"]);
    const missing = "could not fetch the CA certificate (was one set?): no default issuer currently configured";
    await vault.refused(
      500,
      [`1 error occurred:\n\t* ${missing}\n\n`],
      ["POST", "empty/root/sign-intermediate", { body: { csr: "x" } }],
    );
    const empty = "'pem_bundle' and 'certificate' parameters were empty";
    await vault.refused(400, [empty], ["POST", "empty/config/ca", { body: { pem_bundle: "" } }]);
    const first = (await vault.done(["POST", "empty/config/ca", { body: { pem_bundle: vault.root.bundlePem } }])).data;
    const again = (await vault.done(["POST", "empty/config/ca", { body: { pem_bundle: vault.root.bundlePem } }])).data;
    assert.deepEqual(
      [again["existing_issuers"], again["existing_keys"]],
      [first["imported_issuers"], first["imported_keys"]],
    );
    const [issuer, key] = [(first["imported_issuers"] as string[])[0], (first["imported_keys"] as string[])[0]];
    assert.deepEqual(first["mapping"], { [issuer ?? ""]: key });
    const listed = (await vault.done(["GET", "empty/issuers?list=true", { token: null }])).data;
    const { serial } = certificateFacts(parseCertificate(vault.root.certificatePem));
    const info = { is_default: true, issuer_name: "", key_id: key, serial_number: serial };
    assert.deepEqual(listed, { keys: [issuer], key_info: { [issuer ?? ""]: info } });
  },

  "anybody reads the root, byte for byte but for the final newline": async (vault) => {
    const pem = vault.root.certificatePem.trim();
    const revocation = { revocation_time: 0, revocation_time_rfc3339: "" };
    const ca = (await vault.done(["GET", "pki/cert/ca", { token: null }])).data;
    assert.deepEqual(ca, { certificate: pem, ...revocation });
    const chain = (await vault.done(["GET", "pki/cert/ca_chain", { token: null }])).data;
    assert.deepEqual(chain, { ca_chain: pem, certificate: pem, ...revocation });
  },

  "an exported key comes with its request and can be deleted": async (vault) => {
    const generate = async (body: object, mode = "exported") =>
      (await vault.done(["POST", `pki_int/intermediate/generate/${mode}`, { token: vault.token, body }])).data;
    const uris = "spiffe://cluster.local/ns/istio-system/sa/istiod-service-account";
    const asked = {
      common_name: "istiod.mesh",
      organization: "gloo-mesh",
      uri_sans: uris,
      key_type: "ec",
      key_bits: 256,
    };
    const { csr, key_id: keyId, private_key: pem, private_key_type: type, ...rest } = await generate(asked);
    assert.deepEqual([type, rest], ["ec", {}]);
    assert.match(String(pem), /^-----BEGIN EC PRIVATE KEY-----[^-]*-----END EC PRIVATE KEY-----$/);
    assert.match(String(csr), /-----END CERTIFICATE REQUEST-----$/);
    const { publicKey, ...request } = await readCsr(String(csr));
    assert.deepEqual(request, {
      subject: { organization: "gloo-mesh", commonName: "istiod.mesh" },
      uriSans: [uris],
      dnsSans: ["istiod.mesh"],
      ipSans: [],
    });
    assert.equal(publicKeyHash(loadPrivateKey(String(pem))), publicKeyHash(publicKey));
    const rsa = await generate({ common_name: "x" });
    assert.match(String(rsa["private_key"]), /^-----BEGIN RSA PRIVATE KEY-----/);
    const pkcs8 = await generate({ ...asked, private_key_format: "pkcs8" });
    assert.match(String(pkcs8["private_key"]), /^-----BEGIN PRIVATE KEY-----/);
    assert.deepEqual(Object.keys(await generate(asked, "internal")).sort(), ["csr", "key_id"]);
    const listed = (await vault.done(["GET", "pki_int/keys?list=true", { token: vault.token }])).data[
      "keys"
    ] as string[];
    assert.ok(listed.includes(String(keyId)) && listed.length === 4);
    const consequence = "Operations without an explicit key will not work until a new default is configured.";
    const warning = `Deleted key ${String(keyId)} (via key_ref ${String(keyId)}); this was configured as the default key. ${consequence}`;
    await vault.done(["DELETE", `pki_int/key/${String(keyId)}`, { token: vault.token }], [warning]);
    await vault.done(["DELETE", `pki_int/key/${String(rsa["key_id"])}`, { token: vault.token }]);
    await vault.done(["DELETE", `pki_int/key/${String(keyId)}`, { token: vault.token }]);
    const gone = `1 error occurred:\n\t* unable to find PKI key for reference: ${String(keyId)}\n\n`;
    await vault.refused(500, [gone], ["GET", `pki_int/key/${String(keyId)}`, { token: vault.token }]);
  },

  "keys that cannot be made are refused": async (vault) => {
    const path = "pki_int/intermediate/generate";
    const refusals = [
      ["unsupported bit length for EC key: 2048", "exported", { key_type: "ec", key_bits: 2048 }],
      ["RSA keys < 2048 bits are unsafe and not supported: got 1000", "exported", { key_type: "rsa", key_bits: 1000 }],
      ["unknown key type foo", "exported", { key_type: "foo" }],
      ['the "exported" path parameter must be "internal", "existing", exported" or "kms"', "nope", { key_type: "ec" }],
    ] as const;
    for (const [reason, mode, body] of refusals)
      await vault.refused(400, [reason], ["POST", `${path}/${mode}`, { token: vault.token, body }]);
  },

  "a signed intermediate stands, with its chain, the proof before use": async (vault) => {
    const key = await generateKey(EC);
    const csr = await createCsr({ key, commonName: "from-csr", uriSans: ["spiffe://from/csr"] });
    const asked = {
      common_name: "istiod.mesh",
      organization: "gloo-mesh",
      alt_names: "a.b, c.d",
      uri_sans: "spiffe://x/y",
      ttl: "1h",
    };
    const { data } = await vault.done(["POST", SIGN, { token: vault.token, body: { ...asked, csr } }]);
    const keys = ["ca_chain", "certificate", "expiration", "issuing_ca", "serial_number"];
    assert.deepEqual(Object.keys(data).sort(), keys);
    const rootPem = vault.root.certificatePem.trim();
    assert.deepEqual([data["ca_chain"], data["issuing_ca"]], [[data["certificate"], rootPem], rootPem]);
    const certificate = parseCertificate(String(data["certificate"]));
    const facts = certificateFacts(certificate);
    assert.equal(data["certificate"], certificate.pem);
    assert.deepEqual([data["serial_number"], data["expiration"]], [facts.serial, facts.notAfterMs / 1000]);
    assert.deepEqual([facts.subject, facts.isCa, facts.pathLength], ["O=gloo-mesh, CN=istiod.mesh", true, undefined]);
    assert.deepEqual([facts.uriSans, facts.dnsSans.toSorted()], [["spiffe://x/y"], ["a.b", "c.d", "istiod.mesh"]]);
    assert.deepEqual(facts.keyUsages, ["keyCertSign", "cRLSign"]);
    assert.equal(facts.notAfterMs - facts.notBeforeMs, 3_630_000);
    const chain = buildChain(certificate, parseCertificates((data["ca_chain"] as string[]).join("\n")));
    await checkCa({ certificate, key, ...chain, nowMs: Date.now() });
    const copied = await vault.done([
      "POST",
      SIGN,
      { token: vault.token, body: { ...asked, csr, use_csr_values: true } },
    ]);
    const copy = certificateFacts(parseCertificate(String(copied.data["certificate"])));
    assert.deepEqual([copy.subject, copy.uriSans, copy.dnsSans], ["CN=from-csr", ["spiffe://from/csr"], []]);
    const named = await vault.done(["POST", SIGN, { token: vault.token, body: { csr, format: "pem_bundle" } }]);
    assert.equal(named.data["certificate"], (named.data["ca_chain"] as string[]).join("\n"));
  },

  "a life beyond the mount's or the issuer's is cut, with a warning and no error": async (vault) => {
    const csr = await createCsr({ key: await generateKey(EC), commonName: "x" });
    const capped = 'TTL "8760h0m0s" is longer than permitted maxTTL "768h0m0s", so maxTTL is being used';
    const { data } = await vault.done(["POST", SIGN, { token: vault.token, body: { csr, ttl: "8760h" } }], [capped]);
    const lifeS = Number(data["expiration"]) - Date.now() / 1000;
    assert.ok(lifeS > SYSTEM_TTL_S - 60 && lifeS <= SYSTEM_TTL_S);
    await vault.mountRoot("short", { days: 2 });
    const cut = "the signed intermediary CA certificate's notAfter was truncated to the issuer's notAfter";
    const short = await vault.done(["POST", "short/root/sign-intermediate", { body: { csr, ttl: "8760h" } }], [cut]);
    const [own, issuer] = [short.data["certificate"], short.data["issuing_ca"]].map((pem) =>
      certificateFacts(parseCertificate(String(pem))),
    );
    assert.equal(own?.notAfterMs, issuer?.notAfterMs);
  },

  "path length zero is given with a warning, and lets nobody sign below it": async (vault) => {
    const csr = await createCsr({ key: await generateKey(EC), commonName: "x" });
    const zero =
      "Max path length of the signed certificate is zero. This certificate cannot be used to issue intermediate CA certificates.";
    const { data } = await vault.done(
      ["POST", SIGN, { token: vault.token, body: { csr, max_path_length: 0 } }],
      [zero],
    );
    assert.equal(certificateFacts(parseCertificate(String(data["certificate"]))).pathLength, 0);
    await vault.mountRoot("leaves-only", { days: 2, pathLength: 0 });
    const reason = "signing certificate has a max path length of zero, and cannot issue further CA certificates";
    await vault.refused(400, [reason], ["POST", "leaves-only/root/sign-intermediate", { body: { csr, ttl: "1h" } }]);
  },

  "requests that cannot be signed are refused": async (vault) => {
    const csr = await createCsr({ key: await generateKey(EC), commonName: "x" });
    const sign = (body: object): Request => ["POST", SIGN, { token: vault.token, body }];
    await vault.refused(400, ['"csr" is empty'], sign({ csr: "" }));
    await vault.refused(400, ["csr contains no data"], sign({ csr: "garbage" }));
    const duration = 'Field validation failed: error converting input for field "ttl": time: invalid duration "soon"';
    await vault.refused(400, [duration], sign({ csr, ttl: "soon" }));
    await vault.refused(
      400,
      ['The "format" path parameter must be "pem", "der" or "pem_bundle"'],
      sign({ csr, format: "jks" }),
    );
    const { status, body } = await vault.call(...sign({ csr: vault.root.certificatePem }));
    assert.deepEqual([status, body?.errors?.[0]?.startsWith("certificate request could not be parsed: ")], [400, true]);
    assert.equal((await vault.call("POST", SIGN, { token: vault.token, body: "{not json" })).status, 500);
  },

  "the root that signs can be replaced": async (vault) => {
    await vault.mountRoot("rotating", { days: 2 });
    const generated = (
      await vault.done(["POST", "rotating/root/generate/internal", { body: { common_name: "next", ttl: "24h" } }])
    ).data;
    const csr = await createCsr({ key: await generateKey(EC), commonName: "x" });
    const sign = async () =>
      (await vault.done(["POST", "rotating/root/sign-intermediate", { body: { csr, ttl: "1h" } }])).data;
    assert.notEqual((await sign())["issuing_ca"], generated["certificate"]);
    await vault.done(["POST", "rotating/root/replace", { body: { default: generated["issuer_id"] } }]);
    assert.equal((await sign())["issuing_ca"], generated["certificate"]);
    const facts = certificateFacts(parseCertificate(String(generated["certificate"])));
    assert.deepEqual([facts.subject, facts.isCa, generated["serial_number"]], ["CN=next", true, facts.serial]);
  },
};
