import assert from "node:assert/strict";
import { applyVaultSetup, planVaultSetup } from "../../demo/vault-setup.ts";
import { DENIED, LOGIN, type Request, SIGN, type VaultCases } from "./vault-subject.ts";

export const SETUP_CASES: VaultCases = {
  "the guide's set-up is planned, made, and made again": async (vault) => {
    const access = { address: vault.address, token: vault.rootToken };
    const kubernetes = {
      host: vault.reviewer.url,
      caCertPem: vault.reviewer.caPem,
      reviewerJwt: vault.reviewer.reviewerToken,
    };
    const setup = { rootBundlePem: vault.root.bundlePem, kubernetes, serviceAccountNames: ["istiod-service-account"] };
    assert.deepEqual(await planVaultSetup(access), []);
    await applyVaultSetup(access, setup);
    await applyVaultSetup(access, setup);
    assert.deepEqual(await planVaultSetup(access), [
      "secrets engine pki/",
      "secrets engine pki_int/",
      "policy gen-int-ca-istio",
      "configuration of auth method kubernetes/",
      "role gen-int-ca-istio of auth method kubernetes/",
    ]);
    await assert.rejects(planVaultSetup({ ...access, token: "wrong" }), { code: "vault_denied" });
    vault.token = await vault.login();
  },
};

export const SYSTEM_CASES: VaultCases = {
  "health is open and says that it is active": async (vault) => {
    const { status, body } = await vault.call("GET", "sys/health", { token: null });
    const { initialized, sealed, standby } = body as unknown as Record<string, unknown>;
    assert.deepEqual([status, initialized, sealed, standby], [200, true, false, false]);
  },

  "mounts are enabled once, tuned and refused with reasons": async (vault) => {
    await vault.refused(400, ["path is already in use at pki/"], ["POST", "sys/mounts/pki", { body: { type: "pki" } }]);
    await vault.refused(
      400,
      ["path is already in use at kubernetes/"],
      ["POST", "sys/auth/kubernetes", { body: { type: "kubernetes" } }],
    );
    await vault.refused(
      400,
      ["plugin not found in the catalog: nope"],
      ["POST", "sys/mounts/x", { body: { type: "nope" } }],
    );
    const fault = 'tune of path "nope/" failed: no mount entry found';
    await vault.refused(400, [fault], ["POST", "sys/mounts/nope/tune", { body: { max_lease_ttl: "1h" } }]);
    const listed = (await vault.done(["GET", "sys/mounts"])).data as Record<string, { type: string; config: object }>;
    assert.equal(listed["pki/"]?.type, "pki");
    await vault.done(["POST", "sys/mounts/tuned", { body: { type: "pki", config: { max_lease_ttl: "100h" } } }]);
    assert.equal((await vault.done(["GET", "sys/mounts/tuned/tune"])).data["max_lease_ttl"], 360_000);
    await vault.done(["POST", "sys/mounts/tuned/tune", { body: { max_lease_ttl: "8760h" } }]);
    assert.equal((await vault.done(["GET", "sys/mounts/tuned/tune"])).data["max_lease_ttl"], 31_536_000);
    await vault.done(["DELETE", "sys/mounts/tuned"]);
    await vault.refused(400, ["No secret engine mount at tuned/"], ["GET", "sys/mounts/tuned"]);
  },

  "what the policy does not grant is denied, and only after that looked for": async (vault) => {
    const denied = [
      ["GET", "pki/keys?list=true"],
      ["GET", "sys/mounts"],
      ["DELETE", SIGN],
      ["POST", "pki/root/nope"],
      ["POST", "nope/root/sign-intermediate"],
      ["PUT", "sys/seal"],
    ] as const;
    for (const [method, path] of denied) await vault.refused(403, [DENIED], [method, path, { token: vault.token }]);
    await vault.refused(
      405,
      ["1 error occurred:\n\t* unsupported operation\n\n"],
      ["GET", SIGN, { token: vault.token }],
    );
    await vault.refused(404, ["1 error occurred:\n\t* unsupported path\n\n"], ["POST", "pki/root/nope"]);
    const noRoute = 'no handler for route "nope/root/sign-intermediate". route entry not found.';
    await vault.refused(404, [noRoute], ["POST", "nope/root/sign-intermediate"]);
  },

  "of several patterns the most specific decides": async (vault) => {
    const policy = `
    path "a/*" { capabilities = ["read", "list"] }
    path "a/b/*" { capabilities = ["update"] } # narrower
    path "a/b/secret" { capabilities = ["deny"] }
    path "a/+/c" { capabilities = ["delete"] }
    path "a/exact" { capabilities = ["create"] }`;
    await vault.done(["PUT", "sys/policies/acl/patterns", { body: { policy } }]);
    assert.equal((await vault.done(["GET", "sys/policies/acl/patterns"])).data["policy"], policy);
    const { auth } = await vault.done(["POST", "auth/token/create", { body: { policies: ["patterns"] } }]);
    const paths = ["a/x", "a/b/x", "a/b/secret", "a/x/c", "a/b/c", "a/exact", "a", "b"];
    const body = { paths };
    const { data } = await vault.done(["POST", "sys/capabilities-self", { token: String(auth["client_token"]), body }]);
    assert.deepEqual(
      paths.map((path) => data[path]),
      [["list", "read"], ["update"], ["deny"], ["delete"], ["update"], ["create"], ["deny"], ["deny"]],
    );
  },

  "policies that cannot be read are refused": async (vault) => {
    const put = (policy?: string): Request => ["PUT", "sys/policies/acl/bad", { body: { policy } }];
    await vault.refused(400, ["'policy' parameter not supplied or empty"], put());
    const fault = 'failed to parse policy: path "x": invalid capability "fly"';
    await vault.refused(400, [fault], put('path "x" { capabilities = ["fly"] }'));
    const { status, body } = await vault.call(...put('path "x" {'));
    assert.deepEqual([status, body?.errors?.[0]?.startsWith("failed to parse policy: ")], [400, true]);
    await vault.refused(404, [], ["GET", "sys/policies/acl/bad"]);
  },

  "a namespace header is no obstacle where there are no namespaces": async (vault) => {
    await vault.done([
      "GET",
      "auth/token/lookup-self",
      { token: vault.token, headers: { "x-vault-namespace": "team" } },
    ]);
  },
};

export const SEAL_CASES: VaultCases = {
  "sealed it answers nothing but its state, unsealed it goes on where it was": async (vault) => {
    await vault.done(["PUT", "sys/seal"]);
    const health = await vault.call("GET", "sys/health", { token: null });
    assert.deepEqual([health.status, (health.body as unknown as Record<string, unknown>)["sealed"]], [503, true]);
    const sealed: Request[] = [
      ["POST", LOGIN, { token: null, body: {} }],
      ["POST", SIGN, { token: vault.token, body: { csr: "x" } }],
      ["GET", "pki/cert/ca", { token: null }],
    ];
    for (const request of sealed) await vault.refused(503, ["Vault is sealed"], request);
    assert.equal(
      (await vault.call("POST", "sys/unseal", { token: null, body: { key: Buffer.alloc(32).toString("base64") } }))
        .status,
      400,
    );
    const unsealed = await vault.call("POST", "sys/unseal", { token: null, body: { key: vault.unsealKey } });
    assert.equal(unsealed.status, 200);
    await vault.done(["GET", "auth/token/lookup-self", { token: vault.token }]);
  },
};
