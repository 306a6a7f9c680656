import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { temporaryFolder } from "./folder.ts";
import { findSecrets, readTexts } from "./secrets.ts";

test("secrets - a planted secret is found in each form, and a public text is not taken for one", async () => {
  await using folder = await temporaryFolder();
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  await writeFile(folder.file("public"), publicKey.export({ type: "spki", format: "pem" }).toString());
  assert.deepEqual(findSecrets({ key }, await readTexts(folder.path)), []);
  const plants = {
    pem: key,
    json: JSON.stringify({ key }),
    base64: `data: ${Buffer.from(key.trim()).toString("base64")}`,
    line: `log: ${key.split("\n")[1] ?? ""}`,
  };
  for (const [name, text] of Object.entries(plants)) {
    await writeFile(folder.file("planted"), text);
    assert.deepEqual(findSecrets({ key }, await readTexts(folder.path)), [`key in ${folder.file("planted")}`], name);
  }
});
