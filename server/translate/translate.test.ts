import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { IssuedCertificate } from "../../common/api/certificates.ts";
import { findDefinition, checkSchema } from "../../common/api/schema.ts";
import type { VirtualMeshSpec } from "../../common/api/virtual-mesh.ts";
import { IssuedCertificate as WireCertificate } from "../../proto/gen/certificates/v1/certificates.ts";
import { GUIDE_VAULT, meshOf, meshRef, virtualMeshOf } from "../intent/fixtures.ts";
import type { AcceptedIntent } from "../intent/verdict.ts";
import { encodeIssuedCertificate } from "./encode.ts";
import { certificateName, removalsBetween, translate } from "./translate.ts";

function intentOf(numbers: readonly number[], spec: VirtualMeshSpec = {}): AcceptedIntent {
  const meshes = Object.fromEntries(numbers.map((number) => [`gloo-mesh/${meshRef(number).name}`, meshOf(number)]));
  const { spec: full } = virtualMeshOf("vm", numbers, spec);
  return { ref: { namespace: "gloo-mesh", name: "vm" }, generation: 1, acceptanceOrder: 1, spec: full, meshes };
}

function only(intent: AcceptedIntent): IssuedCertificate {
  const [certificate, ...others] = [...translate([intent]).values()].flat();
  assert.deepEqual(others, []);
  return certificate ?? assert.fail("no certificate");
}

describe("translate", () => {
  it("translate - the guide's VirtualMesh gives each cluster the reference's IssuedCertificate", () => {
    const byCluster = translate([intentOf([2, 1])], "mgmt");
    assert.deepEqual([...byCluster.keys()], ["cluster-1", "cluster-2"]);
    const certificate: IssuedCertificate = {
      apiVersion: "certificates.mesh.gloo.solo.io/v1",
      kind: "IssuedCertificate",
      metadata: {
        name: "istiod-istio-system-cluster-1",
        namespace: "gloo-mesh",
        labels: { "owner.networking.mesh.gloo.solo.io": "mgmt" },
        annotations: {
          "parents.networking.mesh.gloo.solo.io":
            '{"networking.mesh.gloo.solo.io/v1, Kind=VirtualMesh":[{"namespace":"gloo-mesh","name":"vm"}]}',
        },
      },
      spec: {
        hosts: ["spiffe://cluster.local/ns/istio-system/sa/istiod"],
        installation: { namespace: "istio-system", serviceAccounts: ["istiod", "istiod-service-account"] },
        certOptions: { ttlDays: 365, rsaKeySizeBytes: 4096, orgName: "Istio", secretRotationGracePeriodRatio: 0.1 },
        agentCa: {
          vault: {
            ...GUIDE_VAULT,
            kubernetesAuth: { role: "gen-int-ca-istio", mountPath: "/v1/auth/kubernetes", secretTokenKey: "token" },
          },
        },
        mesh: { namespace: "gloo-mesh", name: "istiod-istio-system-cluster-1" },
        virtualMesh: { namespace: "gloo-mesh", name: "vm" },
      },
    };
    assert.deepEqual(byCluster.get("cluster-1"), [certificate]);
    assert.deepEqual(
      checkSchema(findDefinition(certificate.apiVersion, certificate.kind) ?? assert.fail(), certificate),
      [],
    );
  });

  it("translate - trust domain, service account, deployment and agent namespace come from the Mesh", () => {
    const mesh = meshOf(1, { namespace: "mesh-ns", deployment: "istiod-canary" });
    const istio = { ...mesh.spec.istio, trustDomain: "example.org", istiodServiceAccount: "istiod-service-account" };
    const changed = { ...mesh, spec: { istio, agentInfo: { agentNamespace: "agents" } } };
    const { metadata, spec } = only({ ...intentOf([]), meshes: { m: changed } });
    assert.deepEqual(spec.hosts, ["spiffe://example.org/ns/mesh-ns/sa/istiod-service-account"]);
    assert.deepEqual(spec.installation, {
      namespace: "mesh-ns",
      deployment: "istiod-canary",
      serviceAccounts: ["istiod-service-account"],
    });
    assert.deepEqual(certificateName(changed), { namespace: "agents", name: metadata.name });
    assert.equal(metadata.namespace, "agents");
  });

  it("translate - without mtlsConfig, or with a root that nobody makes yet, a cluster has nothing to hold", () => {
    const withoutMtls: VirtualMeshSpec = { meshes: [meshRef(1)] };
    const root: VirtualMeshSpec = { mtlsConfig: { shared: { rootCertificateAuthority: { generated: {} } } } };
    for (const intent of [{ ...intentOf([1]), spec: withoutMtls }, intentOf([1], root)]) {
      assert.deepEqual([...translate([intent])], [["cluster-1", []]]);
    }
  });

  it("translate - only what was taken out of the intent is a removal, in the cluster that held it", () => {
    const before = translate([intentOf([1, 2])]);
    const after = translate([intentOf([2])]);
    assert.deepEqual([...removalsBetween(before, after)], [["cluster-1", [certificateName(meshOf(1))]]]);
    assert.deepEqual([...removalsBetween(after, before)], []);
  });

  it("encode - the wire carries everything, and encodes to the same bytes each time", () => {
    const caBundle = Buffer.from("pem").toString("base64");
    const { kubernetesAuth, ...rest } = GUIDE_VAULT;
    const vault = { ...rest, caBundle, namespace: "team", kubernetesAuth: { ...kubernetesAuth, mountedSaPath: "/sa" } };
    const intent = intentOf([1], { mtlsConfig: { shared: { intermediateCertificateAuthority: { vault } } } });
    const bytes = (): Buffer => Buffer.from(WireCertificate.encode(encodeIssuedCertificate(only(intent))).finish());
    assert.deepEqual(bytes(), bytes());
    assert.deepEqual(WireCertificate.decode(bytes()), {
      name: certificateName(meshOf(1)),
      mesh: certificateName(meshOf(1)),
      virtualMesh: { namespace: "gloo-mesh", name: "vm" },
      hosts: ["spiffe://cluster.local/ns/istio-system/sa/istiod"],
      options: { ttlDays: 365, keySizeBits: 4096, orgName: "Istio", secretRotationGracePeriodRatio: 0.1 },
      installation: {
        namespace: "istio-system",
        deployment: "",
        serviceAccounts: ["istiod", "istiod-service-account"],
      },
      autoRestartPods: false,
      certificateAuthority: {
        $case: "vault",
        value: {
          caPath: GUIDE_VAULT.caPath,
          csrPath: GUIDE_VAULT.csrPath,
          server: GUIDE_VAULT.server,
          namespace: "team",
          caSource: { $case: "caBundle", value: Buffer.from("pem") },
          auth: {
            $case: "kubernetesAuth",
            value: {
              mountPath: "/v1/auth/kubernetes",
              role: "gen-int-ca-istio",
              secretTokenKey: "token",
              serviceAccountLocation: { $case: "mountedSaPath", value: "/sa" },
            },
          },
        },
      },
    });
  });

  it("encode - a token's Secret, another service account and a local bundle travel by name only", () => {
    const encoded = (vault: object): unknown => {
      const intent = intentOf([1], { mtlsConfig: { shared: { intermediateCertificateAuthority: { vault } } } });
      return encodeIssuedCertificate(only(intent)).certificateAuthority?.value;
    };
    const ref = { namespace: "n", name: "s" };
    const serviceAccount = encoded({ kubernetesAuth: { role: "r", serviceAccountRef: ref }, caLocalPath: "/ca.pem" });
    assert.deepEqual(
      (serviceAccount as { auth: { value: { serviceAccountLocation: unknown } } }).auth.value.serviceAccountLocation,
      {
        $case: "serviceAccountRef",
        value: ref,
      },
    );
    assert.deepEqual((serviceAccount as { caSource: unknown }).caSource, { $case: "caLocalPath", value: "/ca.pem" });
    const secret = encoded({ tokenSecretRef: ref }) as { auth: unknown; csrPath: string };
    assert.deepEqual([secret.auth, secret.csrPath], [{ $case: "tokenSecretRef", value: ref }, ""]);
  });
});
