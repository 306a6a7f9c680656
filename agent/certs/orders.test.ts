import assert from "node:assert/strict";
import { test } from "node:test";
import { IssuedCertificate, type VaultCertificateAuthority } from "../../proto/gen/certificates/v1/certificates.ts";
import { assignOrder, type HeldCertificate, type VaultOverrides } from "./orders.ts";
import type { PodIdentity } from "./token-reviewer.ts";

const POD: PodIdentity = {
  podName: "istiod-7d9f-abcde",
  podUid: "uid-1",
  podNamespace: "istio-system",
  serviceAccount: "istiod",
  expiresAtMs: 0,
};

function held(deployment: string, { name = deployment, serviceAccounts = ["istiod"] } = {}): HeldCertificate {
  const certificate = IssuedCertificate.fromPartial({
    name: { namespace: "gloo-mesh", name },
    installation: { namespace: "istio-system", deployment, serviceAccounts },
    certificateAuthority: {
      $case: "vault",
      value: {
        server: "http://vault.vault:8200",
        auth: { $case: "kubernetesAuth", value: { mountPath: "/v1/auth/kubernetes", role: "istio" } },
      },
    },
  });
  return { certificate, version: Buffer.alloc(32), detached: false };
}

const assign = (certificates: readonly HeldCertificate[], pod: Partial<PodIdentity> = {}, vault: VaultOverrides = {}) =>
  assignOrder(certificates, { ...POD, ...pod }, { cluster: "cluster-1", vault });

function reasonOf(assignment: ReturnType<typeof assign>): string {
  return assignment.kind === "none" ? assignment.reason : assert.fail("there is an order");
}

function orderOf(assignment: ReturnType<typeof assign>) {
  return assignment.kind === "order" ? assignment.order : assert.fail(assignment.reason);
}

test("orders - a pod gets the certificate of its own deployment, also where one name begins with the other", () => {
  const both = [held("istiod"), held("istiod-canary")];
  assert.equal(orderOf(assign(both)).certificate?.name?.name, "istiod");
  assert.equal(orderOf(assign(both, { podName: "istiod-canary-5c9-xyz" })).certificate?.name?.name, "istiod-canary");
  assert.equal(orderOf(assign([held("")])).certificate?.installation?.deployment, "");
  assert.equal(orderOf(assign([held("istiod", { serviceAccounts: [] })])).cluster, "cluster-1");
});

test("orders - a pod without an order is told why", () => {
  assert.match(reasonOf(assign([])), /^no VirtualMesh names a mesh of cluster cluster-1 yet$/);
  assert.match(
    reasonOf(assign([held("istiod")], { podName: "istiodine-1" })),
    /no IssuedCertificate is for pod istiodine-1/,
  );
  assert.match(reasonOf(assign([held("istiod")], { podNamespace: "other" })), /in namespace other$/);
  assert.match(
    reasonOf(assign([held("istiod")], { serviceAccount: "x" })),
    /for service accounts istiod, the pod runs as x/,
  );
  assert.match(reasonOf(assign([held("istiod"), held("istiod", { name: "second" })])), /claimed by .* and .*second/);
  const bare = held("istiod");
  const unsigned = { ...bare, certificate: { ...bare.certificate, certificateAuthority: undefined } };
  assert.match(reasonOf(assign([unsigned])), /names no certificate authority/);
});

test("orders - the cluster's own vault replaces the VirtualMesh's, and the version says so", () => {
  const vault = { server: "https://vault.local", namespace: "team", mountPath: "kube-2", caBundle: "PEM" };
  const plain = orderOf(assign([held("istiod")]));
  const changed = orderOf(assign([held("istiod")], {}, vault));
  const value: VaultCertificateAuthority = changed.certificate?.certificateAuthority?.value ?? assert.fail();
  assert.deepEqual([value.server, value.namespace], ["https://vault.local", "team"]);
  assert.deepEqual(value.caSource, { $case: "caBundle", value: Buffer.from("PEM") });
  const login = value.auth?.$case === "kubernetesAuth" ? value.auth.value : assert.fail();
  assert.deepEqual([login.mountPath, login.role], ["kube-2", "istio"]);
  assert.notDeepEqual(changed.version, plain.version);
  assert.deepEqual(orderOf(assign([held("istiod")])).version, plain.version);
  assert.equal(plain.version.length, 32);
});
