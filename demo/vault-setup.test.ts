import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { certificateFacts, parseCertificate } from "../common/pki/certificate.ts";
import { startDevVault } from "../dev-vault/server.ts";
import { applyVaultSetup, callVault, createVaultRoot, planVaultSetup } from "./vault-setup.ts";

const EC = { type: "ec", curve: "P-256" } as const;
const REVIEW = { host: "https://127.0.0.1:1", caCertPem: "", reviewerJwt: "jwt" };
const setupWith = (rootBundlePem: string) => ({ rootBundlePem, kubernetes: REVIEW, serviceAccountNames: ["istiod"] });

describe("vault set-up", () => {
  test("vault set-up - the root given last is the one that signs, also where another was before", async () => {
    await using vault = await startDevVault({ rootToken: "root" });
    const access = { address: vault.address, token: "root" };
    const [first, second] = [
      await createVaultRoot("one", EC, Date.now()),
      await createVaultRoot("two", EC, Date.now()),
    ];
    for (const root of [first, second, first]) {
      await applyVaultSetup(access, setupWith(root.bundlePem));
      assert.equal(`${String((await callVault(access, "GET", "pki/cert/ca"))["certificate"])}\n`, root.certificatePem);
    }
  });

  test("vault set-up - a root is ten years old at its end and named by its organization alone", async () => {
    const nowMs = Date.parse("2026-06-01T12:00:00Z");
    const facts = certificateFacts(parseCertificate((await createVaultRoot("my-org", EC, nowMs)).certificatePem));
    assert.deepEqual([facts.subject, facts.isCa, facts.pathLength], ["O=my-org", true, undefined]);
    assert.equal(new Date(facts.notAfterMs).toISOString(), "2036-05-29T12:00:00.000Z");
  });

  test("vault set-up - each way of Vault to fail has its own code, and nothing of the token in its message", async () => {
    const vault = await startDevVault({ rootToken: "root-secret" });
    const access = { address: vault.address, token: "root-secret" };
    await assert.rejects(planVaultSetup({ ...access, token: "wrong-secret" }), {
      code: "vault_denied",
      message: /^[^]*permission denied(?!.*secret)/,
    });
    await assert.rejects(applyVaultSetup(access, setupWith("nonsense")), {
      code: "vault_rejected",
      message: /pki\/config\/ca: provided data/,
    });
    await callVault(access, "PUT", "sys/seal");
    await assert.rejects(planVaultSetup(access), { code: "vault_sealed", message: /503 .*Vault is sealed/ });
    await vault.close();
    await assert.rejects(planVaultSetup(access), { code: "vault_unreachable", message: /does not answer$/ });
    const abort = AbortSignal.abort(new Error("stopped"));
    await assert.rejects(planVaultSetup({ ...access, signal: abort }), /stopped/);
  });

  test("vault set-up - an answer that is no json is malformed", async () => {
    const server = createServer((_, response) => response.end("<html>")).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      await assert.rejects(planVaultSetup({ address, token: "t" }), {
        code: "vault_malformed",
        message: /sys\/mounts/,
      });
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });
});
