import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CommonCertOptions } from "../../common/api/certificates.ts";
import { formatPath } from "../../common/api/problem.ts";
import type { VirtualMeshSpec } from "../../common/api/virtual-mesh.ts";
import { GUIDE_TRUST, GUIDE_VAULT } from "./fixtures.ts";
import { checkSpec } from "./spec-checks.ts";

const VAULT = "spec.mtlsConfig.shared.intermediateCertificateAuthority.vault";
const OPTIONS = "spec.mtlsConfig.shared.intermediateCertOptions";
const PEM = `-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUJ7y0QQ0J2r1S1m5x1J0m3mE0u2MwCgYIKoZIzj0EAwIw
-----END CERTIFICATE-----`;

const base64 = (text: string): string => Buffer.from(text).toString("base64");

function faults(spec: VirtualMeshSpec): string[] {
  return checkSpec(spec).map(({ path, message }) => `${formatPath(path)}: ${message}`);
}

/** Faults of the guide's VirtualMesh with other values in its Vault. */
function vaultFaults(change: object): string[] {
  const vault = { ...GUIDE_VAULT, ...change };
  return faults({ meshes: [], mtlsConfig: { shared: { intermediateCertificateAuthority: { vault } } } });
}

function optionFaults(intermediateCertOptions: CommonCertOptions): string[] {
  const { intermediateCertificateAuthority } = GUIDE_TRUST.mtlsConfig.shared;
  return faults({ meshes: [], mtlsConfig: { shared: { intermediateCertificateAuthority, intermediateCertOptions } } });
}

describe("checkSpec", () => {
  it("spec - what the guide asks for, and a mesh without mtls, have no fault", () => {
    assert.deepEqual(faults({ meshes: [], ...GUIDE_TRUST }), []);
    assert.deepEqual(faults({ meshes: [] }), []);
  });

  it("spec - a list of meshes, a trust model and one authority are required", () => {
    assert.deepEqual(faults({}), ["spec.meshes: is required"]);
    assert.deepEqual(faults({ meshes: [], mtlsConfig: { limited: {} } }), [
      "spec.mtlsConfig.limited: limited trust is not supported",
    ]);
    assert.deepEqual(faults({ meshes: [], mtlsConfig: {} }), [
      "spec.mtlsConfig: no trust model is given, shared is required",
    ]);
    assert.match(
      faults({ meshes: [], mtlsConfig: { shared: {} } })[0] ?? "",
      /^spec\.mtlsConfig\.shared: no ca source/,
    );
    const none = { shared: { intermediateCertificateAuthority: {} } };
    assert.deepEqual(faults({ meshes: [], mtlsConfig: none }), [`${VAULT}: is required`]);
  });

  it("spec - a root needs a source, and its secret may not be where istio's certificates go", () => {
    const root = (rootCertificateAuthority: object): string[] =>
      faults({ meshes: [], mtlsConfig: { shared: { rootCertificateAuthority } } });
    assert.deepEqual(root({ generated: {} }), []);
    assert.deepEqual(root({ secret: { name: "root", namespace: "gloo-mesh" } }), []);
    assert.equal(root({}).length, 1);
    assert.equal(root({ secret: { name: "root" } }).length, 1);
    assert.match(root({ secret: { name: "cacerts", namespace: "istio-system" } })[0] ?? "", /istio-system\/cacerts/);
  });

  const REFUSED: readonly (readonly [what: string, change: object, field: string, message: RegExp])[] = [
    ["no server", { server: undefined }, ".server", /is required/],
    ["a server that is no url", { server: "vault.vault" }, ".server", /is "vault.vault", must be a url/],
    ["a server of another scheme", { server: "ftp://vault:1" }, ".server", /must start with http/],
    ["a server with a query", { server: "http://vault:1/?a=b" }, ".server", /must end with its path/],
    ["no caPath", { caPath: "" }, ".caPath", /is required/],
    ["a caPath of a role", { caPath: "pki/sign/role" }, ".caPath", /is "pki\/sign\/role", must end in/],
    ["an absolute caPath", { caPath: "/v1/pki/root/sign-intermediate" }, ".caPath", /must be relative/],
    ["a caPath with ..", { caPath: "a/../root/sign-intermediate" }, ".caPath", /plain path parts/],
    ["a caPath with a query", { caPath: "pki/root/sign-intermediate?x" }, ".caPath", /plain path parts/],
    [
      "a csrPath that keeps the key",
      { csrPath: "pki_int/intermediate/generate/internal" },
      ".csrPath",
      /keeps the key inside vault, must end in \/intermediate\/generate\/exported/,
    ],
    ["a csrPath that makes none", { csrPath: "pki_int/issue/x" }, ".csrPath", /must end in \/intermediate/],
    ["a caBundle without pem", { caBundle: base64("no pem") }, ".caBundle", /no pem certificate/],
    ["a caBundle with a broken certificate", { caBundle: base64(PEM) }, ".caBundle", /is not a certificate/],
    ["a relative caLocalPath", { caLocalPath: "ca.pem" }, ".caLocalPath", /absolute/],
    ["no way to log in", { kubernetesAuth: undefined }, "", /kubernetesAuth or tokenSecretRef is required/],
    [
      "half a tokenSecretRef",
      { kubernetesAuth: undefined, tokenSecretRef: { name: "t" } },
      ".tokenSecretRef",
      /both required/,
    ],
    ["no role", { kubernetesAuth: {} }, ".kubernetesAuth.role", /is required/],
    [
      "a mountPath with ..",
      { kubernetesAuth: { role: "r", mountPath: "/v1/auth/.." } },
      ".kubernetesAuth.mountPath",
      /plain path parts/,
    ],
    [
      "half a serviceAccountRef",
      { kubernetesAuth: { role: "r", serviceAccountRef: { name: "s" } } },
      ".kubernetesAuth.serviceAccountRef",
      /both required/,
    ],
    [
      "a secretTokenKey that is a path",
      { kubernetesAuth: { role: "r", secretTokenKey: "../x" } },
      ".kubernetesAuth.secretTokenKey",
      /file name/,
    ],
    [
      "a relative mountedSaPath",
      { kubernetesAuth: { role: "r", mountedSaPath: "sa" } },
      ".kubernetesAuth.mountedSaPath",
      /absolute/,
    ],
  ];
  for (const [what, change, field, message] of REFUSED) {
    it(`spec - ${what} is refused at its place`, () => {
      const [first, ...others] = vaultFaults(change);
      assert.deepEqual(others, []);
      assert.ok(first?.startsWith(`${VAULT}${field}: `), `got ${String(first)}`);
      assert.match(first ?? "", message);
    });
  }

  it("spec - a password in the server's url is refused and not repeated", () => {
    const [first] = vaultFaults({ server: "https://user:hunter2@vault:8200" });
    assert.match(first ?? "", /user name or password/);
    assert.doesNotMatch(first ?? "", /hunter2/);
  });

  it("spec - the forms that Vault itself knows are taken", () => {
    for (const change of [
      { caPath: "team/pki/issuer/my-issuer/sign-intermediate" },
      { csrPath: undefined },
      { csrPath: "" },
      { server: "https://vault.example.com/behind/a/proxy" },
      { kubernetesAuth: { role: "r", mountPath: "auth/kubernetes" } },
      { kubernetesAuth: { role: "r", mountPath: "/v1/auth/k8s-1", serviceAccountRef: { name: "s", namespace: "n" } } },
      { kubernetesAuth: undefined, tokenSecretRef: { name: "t", namespace: "n" } },
    ]) {
      assert.deepEqual(vaultFaults(change), [], JSON.stringify(change));
    }
  });

  it("spec - options of the certificate are bounded", () => {
    for (const rsaKeySizeBytes of [256, 2048, 3072, 4096]) assert.deepEqual(optionFaults({ rsaKeySizeBytes }), []);
    assert.deepEqual(optionFaults({ rsaKeySizeBytes: 1024 }), [
      `${OPTIONS}.rsaKeySizeBytes: is 1024, must be 2048, 3072 or 4096 (bits of an rsa key), or 256 (ec p-256)`,
    ]);
    assert.deepEqual(optionFaults({ ttlDays: 0 }), [`${OPTIONS}.ttlDays: is 0, must be 1 to 36500`]);
    assert.equal(optionFaults({ ttlDays: 36_501 }).length, 1);
    for (const secretRotationGracePeriodRatio of [0, 1, -0.1]) {
      assert.equal(optionFaults({ secretRotationGracePeriodRatio }).length, 1);
    }
    assert.deepEqual(optionFaults({ secretRotationGracePeriodRatio: 0.01 }), []);
  });
});
