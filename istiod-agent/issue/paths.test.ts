import assert from "node:assert/strict";
import { test } from "node:test";
import { exportingMount, signingMount } from "./paths.ts";

test("vault paths - the mount and the published issuers follow from caPath", () => {
  assert.deepEqual(signingMount("/v1/team/pki/root/sign-intermediate"), {
    mount: "team/pki",
    issuerPaths: ["team/pki/cert/ca_chain", "team/pki/cert/ca"],
  });
  assert.equal(signingMount("pki/issuer/next/sign-intermediate").issuerPaths[0], "pki/issuer/next/json");
  assert.deepEqual(signingMount("pki/sign/role"), { mount: undefined, issuerPaths: [] });
});

test("vault paths - only a csrPath that exports the key is taken, and the refusal says what to write", () => {
  assert.equal(exportingMount("pki_int/intermediate/generate/exported"), "pki_int");
  assert.equal(exportingMount("/v1/a/b/issuers/generate/intermediate/exported"), "a/b");
  const refusal = (fault: RegExp) => ({
    code: "invalid_argument",
    message: fault,
    hint: /generate\/exported, or remove/,
  });
  assert.throws(
    () => exportingMount("pki_int/intermediate/generate/internal"),
    refusal(/keeps the private key in vault/),
  );
  assert.throws(() => exportingMount("pki_int/roles/istio"), refusal(/is not a path that makes a request/));
});
