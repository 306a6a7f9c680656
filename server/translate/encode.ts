import type {
  IssuedCertificate,
  VaultCertificateAuthority,
  VaultKubernetesAuth,
} from "../../common/api/certificates.ts";
import { fullCertOptions } from "../../common/api/defaults.ts";
import { nameOf, type ObjectRef } from "../../common/api/meta.ts";
import type {
  IssuedCertificate as WireCertificate,
  ResourceName,
  VaultCertificateAuthority as WireVault,
  VaultKubernetesAuth as WireKubernetesAuth,
} from "../../proto/gen/certificates/v1/certificates.ts";

/**
 * The IssuedCertificate as the relay carries it. Defaults are filled in, so that no other room has to know them; only
 * where the service account token lies may stay open, which then is the pod's own.
 */
export function encodeIssuedCertificate(certificate: IssuedCertificate): WireCertificate {
  const { spec } = certificate;
  const options = fullCertOptions(spec.certOptions);
  return {
    name: nameOf(certificate),
    mesh: spec.mesh && toName(spec.mesh),
    virtualMesh: spec.virtualMesh && toName(spec.virtualMesh),
    hosts: [...(spec.hosts ?? [])],
    options: {
      ttlDays: options.ttlDays,
      keySizeBits: options.rsaKeySizeBytes,
      orgName: options.orgName,
      secretRotationGracePeriodRatio: options.secretRotationGracePeriodRatio,
    },
    installation: {
      namespace: spec.installation?.namespace ?? "",
      deployment: spec.installation?.deployment ?? "",
      serviceAccounts: [...(spec.installation?.serviceAccounts ?? [])],
    },
    autoRestartPods: spec.podBounceDirective !== undefined,
    certificateAuthority: spec.agentCa?.vault && { $case: "vault", value: encodeVault(spec.agentCa.vault) },
  };
}

function encodeVault(vault: VaultCertificateAuthority): WireVault {
  return {
    caPath: vault.caPath ?? "",
    csrPath: vault.csrPath ?? "",
    server: vault.server ?? "",
    namespace: vault.namespace ?? "",
    caSource: caSourceOf(vault),
    auth: authOf(vault),
  };
}

function caSourceOf({ caBundle, caLocalPath }: VaultCertificateAuthority): WireVault["caSource"] {
  if (caBundle) return { $case: "caBundle", value: Buffer.from(caBundle, "base64") };
  return caLocalPath ? { $case: "caLocalPath", value: caLocalPath } : undefined;
}

function authOf({ tokenSecretRef, kubernetesAuth }: VaultCertificateAuthority): WireVault["auth"] {
  if (kubernetesAuth) return { $case: "kubernetesAuth", value: encodeKubernetesAuth(kubernetesAuth) };
  return tokenSecretRef && { $case: "tokenSecretRef", value: toName(tokenSecretRef) };
}

function encodeKubernetesAuth(auth: VaultKubernetesAuth): WireKubernetesAuth {
  return {
    mountPath: auth.mountPath ?? "",
    role: auth.role ?? "",
    secretTokenKey: auth.secretTokenKey ?? "",
    serviceAccountLocation: auth.serviceAccountRef
      ? { $case: "serviceAccountRef", value: toName(auth.serviceAccountRef) }
      : auth.mountedSaPath
        ? { $case: "mountedSaPath", value: auth.mountedSaPath }
        : undefined,
  };
}

const toName = ({ namespace = "", name = "" }: ObjectRef): ResourceName => ({ namespace, name });
