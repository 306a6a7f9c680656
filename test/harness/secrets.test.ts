import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { temporaryFolder } from "./folder.ts";
import { findSecrets, readTexts } from "./secrets.ts";

test("secrets - a planted secret is found in each form, and a public text is not taken for one", async () => {
  await using folder = await temporaryFolder();
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const der = privateKey.export({ type: "pkcs8", format: "der" });
  await writeFile(folder.file("public"), publicKey.export({ type: "spki", format: "pem" }).toString());
  assert.deepEqual(findSecrets({ key }, await readTexts(folder.path)), []);
  const plants = {
    pem: key,
    json: JSON.stringify({ key }),
    base64: `data: ${Buffer.from(key.trim()).toString("base64")}`,
    line: `log: ${key.split("\n")[1] ?? ""}`,
    der: Buffer.concat([Buffer.from("etcd"), der, Buffer.from("etcd")]),
    "base64 of der": der.toString("base64"),
    "base64 with a neighbour": Buffer.from(`x${key}`).toString("base64"),
    gzip: Buffer.concat([Buffer.from("some bytes before"), gzipSync(key), Buffer.from("and after")]),
    "helm release": Buffer.from(gzipSync(JSON.stringify({ key })).toString("base64")).toString("base64"),
  };
  for (const [name, text] of Object.entries(plants)) {
    await writeFile(folder.file("planted"), text);
    assert.deepEqual(findSecrets({ key }, await readTexts(folder.path)), [`key in ${folder.file("planted")}`], name);
  }
});
