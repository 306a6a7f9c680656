import { IssuedCertificate } from "../../proto/gen/certificates/v1/certificates.ts";
import { keyOf, wireResource, type WireResource } from "../../common/session/resource-set.ts";

/** One resource travels in the bench: that of the mesh of each cluster. */
export const NAME = { namespace: "gloo-mesh", name: "istiod-istio-system" };
export const KEY = keyOf(NAME);

/** As large as a chain of two in PEM, which brings the resource to some 1.7 KB. */
const CA_BUNDLE = Buffer.alloc(1_300, "A");

/** What a VirtualMesh with a Vault gives to one cluster; another `revision` is another content. */
export function intentFor(cluster: string, revision: number): WireResource {
  const content = IssuedCertificate.encode({
    name: NAME,
    mesh: { namespace: "gloo-mesh", name: `istiod-istio-system-${cluster}` },
    virtualMesh: { namespace: "gloo-mesh", name: "virtual-mesh" },
    hosts: ["spiffe://cluster.local/ns/istio-system/sa/istiod-service-account"],
    options: { ttlDays: revision, keySizeBits: 4096, orgName: "Istio", secretRotationGracePeriodRatio: 0.1 },
    installation: { namespace: "istio-system", deployment: "istiod", serviceAccounts: ["istiod-service-account"] },
    autoRestartPods: false,
    certificateAuthority: {
      $case: "vault",
      value: {
        caPath: "pki/root/sign-intermediate",
        csrPath: "pki_int/intermediate/generate/exported",
        server: "https://vault.vault:8200",
        namespace: "",
        caSource: { $case: "caBundle", value: CA_BUNDLE },
        auth: {
          $case: "kubernetesAuth",
          value: {
            mountPath: "/v1/auth/kubernetes",
            role: "gen-int-ca-istio",
            secretTokenKey: "token",
            serviceAccountLocation: undefined,
          },
        },
      },
    },
  }).finish();
  return wireResource(NAME, Buffer.from(content));
}
