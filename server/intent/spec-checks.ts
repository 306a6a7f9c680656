import { completeRef } from "../../common/api/meta.ts";
import type { Path } from "../../common/api/problem.ts";
import type {
  IntermediateCertificateAuthority,
  MtlsConfig,
  RootCertificateAuthority,
  SharedTrust,
  VirtualMeshSpec,
} from "../../common/api/virtual-mesh.ts";
import { checkCertOptions, checkVault } from "./vault-checks.ts";
import type { SpecFault } from "./verdict.ts";

/**
 * Faults of a spec by itself, that is without the meshes it names. A spec with any is refused whole. Oneofs and types
 * are the schema's work and are not looked at again.
 */
export function checkSpec(spec: VirtualMeshSpec): SpecFault[] {
  const faults: SpecFault[] = [];
  if (!spec.meshes) {
    faults.push({ path: ["meshes"], message: "is required", hint: "an empty list releases all meshes" });
  }
  if (spec.mtlsConfig) faults.push(...below("mtlsConfig", checkMtlsConfig(spec.mtlsConfig)));
  return below("spec", faults);
}

function checkMtlsConfig({ shared, limited }: MtlsConfig): SpecFault[] {
  if (limited) return [{ path: ["limited"], message: "limited trust is not supported", hint: "use shared" }];
  if (!shared) return [{ path: [], message: "no trust model is given, shared is required" }];
  return below("shared", checkSharedTrust(shared));
}

function checkSharedTrust(shared: SharedTrust): SpecFault[] {
  const { rootCertificateAuthority: root, intermediateCertificateAuthority: intermediate } = shared;
  const options = below("intermediateCertOptions", checkCertOptions(shared.intermediateCertOptions));
  if (root) return [...below("rootCertificateAuthority", checkRoot(root)), ...options];
  if (intermediate) return [...below("intermediateCertificateAuthority", checkIntermediate(intermediate)), ...options];
  const message = "no ca source is given, intermediateCertificateAuthority or rootCertificateAuthority is required";
  return [{ path: [], message }, ...options];
}

function checkIntermediate({ vault }: IntermediateCertificateAuthority): SpecFault[] {
  return vault ? below("vault", checkVault(vault)) : [{ path: ["vault"], message: "is required" }];
}

function checkRoot({ generated, secret }: RootCertificateAuthority): SpecFault[] {
  if (generated) return below("generated", checkCertOptions(generated));
  if (!secret) return [{ path: [], message: "no ca source is given, generated or secret is required" }];
  if (!completeRef(secret)) return [{ path: ["secret"], message: "name and namespace are both required" }];
  if (secret.name !== "cacerts" || secret.namespace !== "istio-system") return [];
  return [{ path: ["secret"], message: "is istio-system/cacerts, which is where istio's certificates are written to" }];
}

function below(step: string, faults: readonly SpecFault[]): SpecFault[] {
  return faults.map((fault) => ({ ...fault, path: [step, ...fault.path] satisfies Path }));
}
