import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { freePortOffset, startDemo } from "../harness/demo.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { skipWithout } from "../harness/needs.ts";
import { startVault, vaultTools } from "../harness/vault.ts";

test("real demo - converges with a real Vault of the user's", { skip: skipWithout(vaultTools()) }, async () => {
  await using vault = await startVault();
  await using folder = await temporaryFolder();
  await writeFile(folder.file("token"), vault.rootToken, { mode: 0o600 });
  const yours = ["--vault", vault.address, "--vault-token-file", folder.file("token")];
  const offset = await freePortOffset();
  await using demo = await startDemo("--once", "--timeout", "120s", "--port-offset", String(offset), ...yours);
  assert.equal(await demo.ended, 0, demo.told());
  const { checks } = await demo.document();
  assert.deepEqual(
    checks.filter(({ passed }) => !passed),
    [],
  );
});
