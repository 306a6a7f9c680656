import { parseCertificates } from "../../common/pki/certificate.ts";
import type {
  CommonCertOptions,
  VaultCertificateAuthority,
  VaultKubernetesAuth,
} from "../../common/api/certificates.ts";
import { completeRef } from "../../common/api/meta.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { SpecFault } from "./verdict.ts";

/** Faults of a Vault CA, with paths relative to it. What its schema excludes is not looked at again. */
export function checkVault(vault: VaultCertificateAuthority): SpecFault[] {
  return [
    ...checkServer(vault.server),
    ...checkCaPath(vault.caPath),
    ...checkCsrPath(vault.csrPath),
    ...checkTrust(vault),
    ...checkAuth(vault),
  ];
}

/** Faults of certificate options, with paths relative to them. */
export function checkCertOptions(options: CommonCertOptions = {}): SpecFault[] {
  const { ttlDays, rsaKeySizeBytes: bits, secretRotationGracePeriodRatio: ratio } = options;
  const faults: SpecFault[] = [];
  if (ttlDays !== undefined && (ttlDays < 1 || ttlDays > MAX_TTL_DAYS)) {
    faults.push({ path: ["ttlDays"], message: `is ${ttlDays}, must be 1 to ${MAX_TTL_DAYS}` });
  }
  if (bits !== undefined && !KEY_SIZES.includes(bits)) {
    const message = `is ${bits}, must be 2048, 3072 or 4096 (bits of an rsa key), or 256 (ec p-256)`;
    faults.push({ path: ["rsaKeySizeBytes"], message });
  }
  if (ratio !== undefined && !(ratio > 0 && ratio < 1)) {
    faults.push({
      path: ["secretRotationGracePeriodRatio"],
      message: `is ${ratio}, must be between 0 and 1, without both`,
    });
  }
  return faults;
}

const KEY_SIZES: readonly number[] = [256, 2048, 3072, 4096];

/** A century: beyond it is a slip of the keyboard, and certificates cannot express the far end of uint32. */
const MAX_TTL_DAYS = 36_500;

const VAULT_PATH = /^[A-Za-z0-9_.~-]+(?:\/[A-Za-z0-9_.~-]+)*$/;
const SIGNS_INTERMEDIATES = /^.+\/(?:root|issuer\/[^/]+)\/sign-intermediate$/;
const EXPORTS_KEY = /^.+\/intermediate\/generate\/exported$/;
const KEEPS_KEY = /\/generate\/(?:internal|existing|kms)$/;

function checkServer(server: string | undefined): SpecFault[] {
  const path = ["server"];
  if (!server) return [{ path, message: "is required, as http://host:port or https://host:port" }];
  if (server.includes("@")) {
    return [{ path, message: "holds a user name or password, must be without", hint: "use tokenSecretRef" }];
  }
  if (!URL.canParse(server)) return [{ path, message: `is "${server}", must be a url as https://vault.vault:8200` }];
  const url = new URL(server);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return [{ path, message: `is "${server}", must start with http:// or https://` }];
  }
  return url.search === "" && url.hash === "" ? [] : [{ path, message: `is "${server}", must end with its path` }];
}

function checkCaPath(caPath: string | undefined): SpecFault[] {
  const path = ["caPath"];
  if (!caPath) return [{ path, message: "is required, as pki/root/sign-intermediate" }];
  const form = checkVaultPath(path, caPath);
  if (form.length > 0 || SIGNS_INTERMEDIATES.test(caPath)) return form;
  const message = `is "${caPath}", must end in /root/sign-intermediate or /issuer/<name>/sign-intermediate`;
  return [
    { path, message, ...(caPath.includes("/sign/") && { hint: "a role's path signs leaves, not intermediates" }) },
  ];
}

function checkCsrPath(csrPath: string | undefined): SpecFault[] {
  const path = ["csrPath"];
  if (!csrPath) return [];
  const form = checkVaultPath(path, csrPath);
  if (form.length > 0 || EXPORTS_KEY.test(csrPath)) return form;
  const cause = KEEPS_KEY.test(csrPath) ? "keeps the key inside vault" : "is no path that makes an intermediate's key";
  const hint = "istiod needs the key: end it in exported, or leave csrPath out and the key is made in the pod";
  return [{ path, message: `"${csrPath}" ${cause}, must end in /intermediate/generate/exported`, hint }];
}

/** The client appends the path to /v1/ as it stands, so nothing in it may change where the request goes. */
function checkVaultPath(path: readonly string[], value: string): SpecFault[] {
  const relative = value.startsWith("/") || value.startsWith("v1/");
  if (relative) return [{ path, message: `is "${value}", must be relative to /v1/, without it and without a first /` }];
  const plain = VAULT_PATH.test(value) && !value.split("/").some((part) => part === "." || part === "..");
  return plain ? [] : [{ path, message: `is "${value}", must be plain path parts joined by single slashes` }];
}

function checkTrust({ caBundle, caLocalPath }: VaultCertificateAuthority): SpecFault[] {
  if (caLocalPath && !caLocalPath.startsWith("/")) {
    return [{ path: ["caLocalPath"], message: `is "${caLocalPath}", must be an absolute path in the istiod-agent` }];
  }
  if (!caBundle) return [];
  try {
    parseCertificates(Buffer.from(caBundle, "base64").toString("utf8"), "decoded");
    return [];
  } catch (error) {
    return [{ path: ["caBundle"], message: MeshError.from(error).message, hint: "give the base64 of a pem file" }];
  }
}

function checkAuth({ tokenSecretRef, kubernetesAuth }: VaultCertificateAuthority): SpecFault[] {
  if (kubernetesAuth) {
    return checkKubernetesAuth(kubernetesAuth).map((fault) => ({ ...fault, path: ["kubernetesAuth", ...fault.path] }));
  }
  if (!tokenSecretRef) return [{ path: [], message: "kubernetesAuth or tokenSecretRef is required" }];
  if (completeRef(tokenSecretRef)) return [];
  return [{ path: ["tokenSecretRef"], message: "name and namespace are both required" }];
}

function checkKubernetesAuth(auth: VaultKubernetesAuth): SpecFault[] {
  const { role, mountPath, secretTokenKey: key, serviceAccountRef, mountedSaPath } = auth;
  const faults: SpecFault[] = [];
  if (!role) faults.push({ path: ["role"], message: "is required" });
  if (mountPath) faults.push(...checkVaultPath(["mountPath"], mountPath.replace(/^\/?v1\//, "")));
  if (key && (key.includes("/") || key === "..")) {
    faults.push({ path: ["secretTokenKey"], message: `is "${key}", must be a file name` });
  }
  if (serviceAccountRef && !completeRef(serviceAccountRef)) {
    faults.push({ path: ["serviceAccountRef"], message: "name and namespace are both required" });
  }
  if (mountedSaPath && !mountedSaPath.startsWith("/")) {
    faults.push({ path: ["mountedSaPath"], message: `is "${mountedSaPath}", must be an absolute path` });
  }
  return faults;
}
