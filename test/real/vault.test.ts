import assert from "node:assert/strict";
import { test } from "node:test";
import { skipWithout } from "../harness/needs.ts";
import { startVault, vaultTools } from "../harness/vault.ts";

test(
  "real vault - serves what the guide needs and is gone afterwards",
  { skip: skipWithout(vaultTools()) },
  async () => {
    const vault = await startVault();
    try {
      await vault.cli(["auth", "enable", "kubernetes"]);
      await vault.cli(["secrets", "enable", "pki"]);
      const mounts = JSON.parse(await vault.cli(["auth", "list", "-format=json"])) as Record<string, { type: string }>;
      assert.equal(mounts["kubernetes/"]?.type, "kubernetes");
      const policy = 'path "pki/cert/ca" { capabilities = ["read"] }';
      await vault.cli(["policy", "write", "reader", "-"], policy);
      assert.equal((await vault.cli(["policy", "read", "reader"])).trim(), policy);
    } finally {
      await vault[Symbol.asyncDispose]();
    }
    assert.equal(vault.process.running, false);
    await assert.rejects(fetch(vault.address));
  },
);
