import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { type Authority, createRootCa, signCertificate } from "../common/pki/authority.ts";
import { generateKey, privateKeyToPem } from "../common/pki/keys.ts";
import { type TemporaryFolder, temporaryFolder } from "../test/harness/folder.ts";
import { checkAll, type IssuedDirectory } from "./checks.ts";

const EC = { type: "ec", curve: "P-256" } as const;
const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 };
const subject = { organization: "my-org" };

async function makeRoot(): Promise<Authority> {
  const key = await generateKey(EC);
  return { certificate: await createRootCa({ subject, key, ...validity }), key };
}

/** What an istiod of `cluster` reads, below `root`. */
async function install(folder: TemporaryFolder, cluster: string, root: Authority): Promise<IssuedDirectory> {
  const key = await generateKey(EC);
  const request = { issuer: root, subject: { commonName: cluster }, publicKey: key, ca: {}, ...validity };
  const { pem } = await signCertificate(request);
  const directory = folder.file(cluster);
  await mkdir(directory);
  const files = {
    "ca-cert.pem": pem,
    "ca-key.pem": privateKeyToPem(key),
    "cert-chain.pem": pem,
    "root-cert.pem": root.certificate.pem,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(folder.file(cluster, name), text, { mode: 0o600 });
  return { cluster, directory };
}

test("demo checks - all pass where both clusters are below Vault's root", async () => {
  await using folder = await temporaryFolder();
  const root = await makeRoot();
  const issued = [await install(folder, "cluster-1", root), await install(folder, "cluster-2", root)];
  const checks = await checkAll(issued, root.certificate.pem);
  assert.deepEqual(
    checks.filter(({ passed }) => !passed),
    [],
  );
  assert.equal(checks.length, 6);
});

test("demo checks - another root of the same name in one cluster fails root and both handshakes", async () => {
  await using folder = await temporaryFolder();
  const [root, other] = [await makeRoot(), await makeRoot()];
  const issued = [await install(folder, "cluster-1", root), await install(folder, "cluster-2", other)];
  const checks = await checkAll(issued, root.certificate.pem);
  assert.deepEqual(
    checks.map(({ passed }) => passed),
    [false, true, true, false, false, true],
  );
  assert.match(checks[0]?.detail ?? "", /cluster-2 has another root/);
});

test("demo checks - a certificate that its root did not sign fails the chain", async () => {
  await using folder = await temporaryFolder();
  const [root, other] = [await makeRoot(), await makeRoot()];
  const one = await install(folder, "cluster-1", other);
  await writeFile(folder.file("cluster-1", "root-cert.pem"), root.certificate.pem);
  const chain = (await checkAll([one], root.certificate.pem)).find(({ name }) => name === "chain of cluster-1");
  assert.equal(chain?.passed, false);
});
