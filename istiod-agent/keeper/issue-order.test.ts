import assert from "node:assert/strict";
import { test } from "node:test";
import { IssuedCertificate, type VaultCertificateAuthority } from "../../proto/gen/certificates/v1/certificates.ts";
import { fileCredentials } from "../pod/credentials.ts";
import { requestKey, toIssueOrder, type Obeyer } from "./issue-order.ts";

const OBEYER: Obeyer = {
  pod: { podName: "istiod-1", podNamespace: "istio-system", serviceAccount: "istiod" },
  credentials: fileCredentials({ serviceAccountDir: "/sa", secretsDir: "/secrets", agentCaFile: "/ca.pem" }),
};

type Auth = VaultCertificateAuthority["auth"];

function certificate(vault: Partial<VaultCertificateAuthority> = {}, options: object = {}): IssuedCertificate {
  return IssuedCertificate.fromPartial({
    name: { namespace: "gloo-mesh", name: "istiod-istio-system-cluster-1" },
    hosts: ["spiffe://cluster.local/ns/istio-system/sa/istiod"],
    options: { ttlDays: 2, keySizeBits: 4096, orgName: "my-org", ...options },
    certificateAuthority: {
      $case: "vault",
      value: {
        caPath: "pki/root/sign-intermediate",
        server: "http://vault.vault:8200",
        auth: { $case: "kubernetesAuth", value: { role: "istio" } },
        ...vault,
      },
    },
  });
}

const orderOf = (from: IssuedCertificate) =>
  toIssueOrder({ certificate: from, version: Buffer.alloc(32), cluster: "cluster-1" }, OBEYER);

function kubernetes(location: object): Auth {
  return IssuedCertificate.fromPartial({
    certificateAuthority: {
      $case: "vault",
      value: { auth: { $case: "kubernetesAuth", value: { role: "istio", ...location } } },
    },
  }).certificateAuthority?.value.auth;
}

test("issue order - carries what the order says, with the defaults of the API", () => {
  const { vault, ...rest } = orderOf(certificate());
  assert.deepEqual(rest, {
    organization: "my-org",
    commonName: "istiod-istio-system-cluster-1",
    hosts: ["spiffe://cluster.local/ns/istio-system/sa/istiod"],
    ttlSeconds: 172_800,
    key: { type: "rsa", bits: 4096 },
    graceRatio: 0.1,
    spreadKey: "cluster-1/istiod-1",
  });
  assert.equal(vault.csrPath, undefined);
  assert.deepEqual(vault.auth.kind === "kubernetes" && [vault.auth.mountPath, vault.auth.role, vault.auth.jwt.name], [
    "/v1/auth/kubernetes",
    "istio",
    "/sa/token",
  ]);
  assert.deepEqual(orderOf(certificate({}, { keySizeBits: 256 })).key, { type: "ec", curve: "P-256" });
});

test("issue order - finds each form of credential, and never outside its directory", () => {
  const ref = (namespace: string, name: string): object => ({
    serviceAccountLocation: { $case: "serviceAccountRef", value: { namespace, name } },
  });
  const cases: [Auth, string][] = [
    [{ $case: "tokenSecretRef", value: { namespace: "gloo-mesh", name: "vault" } }, "/secrets/gloo-mesh/vault/token"],
    [kubernetes({ secretTokenKey: "vault-token" }), "/sa/vault-token"],
    [
      kubernetes({ serviceAccountLocation: { $case: "mountedSaPath", value: "/var/run/vault" } }),
      "/var/run/vault/token",
    ],
    [kubernetes(ref("istio-system", "istiod")), "/sa/token"],
    [kubernetes(ref("vault", "login")), "/secrets/vault/login/token"],
  ];
  for (const [auth, path] of cases) {
    const found = orderOf(certificate({ auth })).vault.auth;
    assert.equal(found.kind === "token" ? found.token.name : found.jwt.name, path);
  }
  for (const name of ["..", "../../etc", "a/b", ""]) {
    const auth: Auth = { $case: "tokenSecretRef", value: { namespace: "gloo-mesh", name } };
    assert.throws(() => orderOf(certificate({ auth })), { code: "invalid_argument" }, name);
  }
});

test("issue order - what cannot be obeyed is refused with the fault", () => {
  assert.throws(() => orderOf(certificate({}, { keySizeBits: 1024 })), /key size 1024 is none of/);
  assert.throws(() => orderOf(certificate({ auth: undefined })), /no way to log in/);
  assert.throws(() => orderOf({ ...certificate(), certificateAuthority: undefined }), /no certificate authority/);
});

test("issue order - the request key tells orders apart by what they ask for, not by how to log in", () => {
  const base = requestKey(certificate());
  assert.equal(requestKey(certificate({ auth: kubernetes({ role: "other" }) })), base);
  assert.equal(requestKey(certificate({}, { secretRotationGracePeriodRatio: 0.5 })), base);
  const others = [
    certificate({ caPath: "pki2/root/sign-intermediate" }),
    certificate({ csrPath: "pki_int/intermediate/generate/exported" }),
    certificate({ server: "https://vault" }),
    certificate({ namespace: "team" }),
    certificate({}, { ttlDays: 3 }),
    certificate({}, { keySizeBits: 256 }),
    certificate({}, { orgName: "other" }),
    { ...certificate(), hosts: [] },
  ];
  assert.equal(new Set([base, ...others.map(requestKey)]).size, others.length + 1);
});
