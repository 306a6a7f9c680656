import type { Mesh } from "../../common/api/discovery.ts";
import { nameOf, refKey } from "../../common/api/meta.ts";
import { keyOf, type WireResource } from "../../common/session/resource-set.ts";
import { resourceOf } from "../../server/translate/wire.ts";
import { appliedIntent } from "../../server/intent/applied.ts";

/** One resource travels in the bench: that of the mesh of each cluster. */
const NAME = { namespace: "gloo-mesh", name: "istiod-istio-system" };
export const KEY = keyOf(NAME);

/** As large as a chain of two in PEM, which brings the resource to some 1.7 KB. */
const CA_BUNDLE = Buffer.alloc(1_300, "A").toString("base64");

/** The Mesh of one cluster, with a VirtualMesh in force that has a Vault; another `revision` is another content. */
export function meshWith(cluster: string, revision: number): Mesh {
  return {
    apiVersion: "discovery.mesh.gloo.solo.io/v1",
    kind: "Mesh",
    metadata: NAME,
    spec: {
      agentInfo: { agentNamespace: NAME.namespace },
      istio: {
        installation: { cluster, namespace: "istio-system", deployment: "istiod" },
        istiodServiceAccount: "istiod-service-account",
        trustDomain: "cluster.local",
      },
    },
    status: {
      observedGeneration: 1,
      appliedVirtualMesh: {
        ref: { namespace: NAME.namespace, name: `virtual-mesh-${cluster}` },
        observedGeneration: revision,
        spec: {
          mtlsConfig: {
            shared: {
              intermediateCertificateAuthority: {
                vault: {
                  caPath: "pki/root/sign-intermediate",
                  csrPath: "pki_int/intermediate/generate/exported",
                  server: "https://vault.vault:8200",
                  caBundle: CA_BUNDLE,
                  kubernetesAuth: { mountPath: "/v1/auth/kubernetes", role: "gen-int-ca-istio" },
                },
              },
              intermediateCertOptions: { ttlDays: revision },
            },
          },
        },
      },
    },
  };
}

/** What such a Mesh asks for, encoded once for all clusters. */
export function intentFor(revision: number): WireResource {
  const mesh = meshWith("all", revision);
  const intent = appliedIntent(mesh);
  const resource = intent && resourceOf(intent, mesh, NAME.namespace);
  if (!resource) throw new Error(`${refKey(nameOf(mesh))} asks for nothing`);
  return resource;
}
