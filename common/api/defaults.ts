import type { CommonCertOptions, VaultCertificateAuthority } from "./certificates.ts";
import type { SharedTrust, VirtualMeshSpec } from "./virtual-mesh.ts";

/** Options with nothing left open. */
export type FullCertOptions = Required<CommonCertOptions>;

/** Fills in the reference's defaults; the organization's depends on whether it is a root ("gloo-mesh") or not ("Istio"). */
export function fullCertOptions(
  options: CommonCertOptions = {},
  orgName: "gloo-mesh" | "Istio" = "Istio",
): FullCertOptions {
  return {
    ttlDays: options.ttlDays ?? 365,
    rsaKeySizeBytes: options.rsaKeySizeBytes ?? 4096,
    orgName: options.orgName === undefined || options.orgName === "" ? orgName : options.orgName,
    secretRotationGracePeriodRatio: options.secretRotationGracePeriodRatio ?? 0.1,
  };
}

/**
 * Fills in what the kubernetes auth method leaves open. `mountedSaPath` stays open: absent, it is the directory of the
 * pod's own service account, which the istiod-agent knows.
 */
function withVaultDefaults(vault: VaultCertificateAuthority): VaultCertificateAuthority {
  const { kubernetesAuth: auth } = vault;
  if (!auth) return vault;
  const mountPath = auth.mountPath === undefined || auth.mountPath === "" ? "/v1/auth/kubernetes" : auth.mountPath;
  const secretTokenKey =
    auth.secretTokenKey === undefined || auth.secretTokenKey === "" ? "token" : auth.secretTokenKey;
  return { ...vault, kubernetesAuth: { ...auth, mountPath, secretTokenKey } };
}

/** The spec of a VirtualMesh with every default of the reference filled in. Its input is unchanged. */
export function withDefaults(spec: VirtualMeshSpec): VirtualMeshSpec {
  const { mtlsConfig, federation } = spec;
  return {
    ...spec,
    globalAccessPolicy: spec.globalAccessPolicy ?? "MESH_DEFAULT",
    ...(federation && { federation: { ...federation, hostnameSuffix: federation.hostnameSuffix ?? "global" } }),
    ...(mtlsConfig && {
      mtlsConfig: {
        ...mtlsConfig,
        autoRestartPods: mtlsConfig.autoRestartPods ?? false,
        rotationStrategy: mtlsConfig.rotationStrategy ?? "MULTI_ROOT",
        ...(mtlsConfig.shared && { shared: withTrustDefaults(mtlsConfig.shared) }),
      },
    }),
  };
}

function withTrustDefaults(shared: SharedTrust): SharedTrust {
  const { rootCertificateAuthority: root, intermediateCertificateAuthority: intermediate } = shared;
  return {
    ...shared,
    ...(root?.generated && {
      rootCertificateAuthority: { ...root, generated: fullCertOptions(root.generated, "gloo-mesh") },
    }),
    ...(intermediate?.vault && {
      intermediateCertificateAuthority: { ...intermediate, vault: withVaultDefaults(intermediate.vault) },
    }),
    intermediateCertOptions: fullCertOptions(shared.intermediateCertOptions),
  };
}
