import { createRootCa } from "../common/pki/authority.ts";
import { toPem } from "../common/pki/certificate.ts";
import { generateKey, type KeySpec, privateKeyToPem } from "../common/pki/keys.ts";
import { MeshError } from "../common/runtime/errors.ts";

/** Names of the guide's set-up. */
export const GUIDE_VAULT = {
  caMount: "pki",
  csrMount: "pki_int",
  authMount: "kubernetes",
  policy: "gen-int-ca-istio",
  role: "gen-int-ca-istio",
  namespace: "istio-system",
} as const;

const POLICY = `path "pki_int/*" {
capabilities = ["create", "read", "update", "delete", "list"]
}
path "pki/cert/ca" {
capabilities = ["read"]
}
path "pki/root/sign-intermediate" {
capabilities = ["create", "read", "update", "list"]
}
`;

/** A Vault and the right to set it up. */
export interface VaultAccess {
  /** `http://host:port`. */
  readonly address: string;
  /** With root's power. */
  readonly token: string;
  readonly signal?: AbortSignal;
}

export interface VaultSetup {
  /** Private key and certificate of the root, PEM texts one after the other. A secret. */
  readonly rootBundlePem: string;
  /** The API server that reviews the tokens of logins, as Vault reaches it. */
  readonly kubernetes: { readonly host: string; readonly caCertPem: string; readonly reviewerJwt: string };
  /** Accounts of `istio-system` that may log in. */
  readonly serviceAccountNames: readonly string[];
}

/** A root of trust as step 2 of the guide makes it: ten years, named by its organization alone. */
export interface VaultRoot {
  /** The certificate, PEM with a final newline. */
  readonly certificatePem: string;
  /** What `rootBundlePem` wants. A secret. */
  readonly bundlePem: string;
}

const TEN_YEARS_MS = 3650 * 86_400_000;

export async function createVaultRoot(organization: string, keySpec: KeySpec, nowMs: number): Promise<VaultRoot> {
  const key = await generateKey(keySpec);
  const validity = { notBeforeMs: nowMs - 60_000, notAfterMs: nowMs + TEN_YEARS_MS };
  const certificatePem = toPem([await createRootCa({ subject: { organization }, key, ...validity })]);
  return { certificatePem, bundlePem: privateKeyToPem(key) + certificatePem };
}

/**
 * Lists what stands in this Vault already and `applyVaultSetup` would change: engines, policy, auth method, role, each
 * as a person would name it. Empty for a new Vault. Changes nothing.
 */
export async function planVaultSetup(access: VaultAccess): Promise<string[]> {
  const { caMount, csrMount, authMount, policy, role } = GUIDE_VAULT;
  const [mounts, auths] = [await readMap(access, "sys/mounts"), await readMap(access, "sys/auth")];
  const found = [
    ...[caMount, csrMount].filter((mount) => `${mount}/` in mounts).map((mount) => `secrets engine ${mount}/`),
    ...((await exists(access, `sys/policies/acl/${policy}`)) ? [`policy ${policy}`] : []),
  ];
  if (!(`${authMount}/` in auths)) return found;
  const configured = await exists(access, `auth/${authMount}/config`);
  const hasRole = await exists(access, `auth/${authMount}/role/${role}`);
  return [
    ...found,
    ...(configured ? [`configuration of auth method ${authMount}/`] : []),
    ...(hasRole ? [`role ${role} of auth method ${authMount}/`] : []),
  ];
}

/**
 * Makes the guide's set-up (step 3): kubernetes auth with its role, the root in `pki`, the empty `pki_int`, the policy.
 * What exists is overwritten, and the root given becomes the one that signs: ask `planVaultSetup` first. Idempotent.
 * Throws `vault_unreachable`, `vault_sealed`, `vault_denied` or `vault_rejected` with Vault's own words.
 */
export async function applyVaultSetup(access: VaultAccess, setup: VaultSetup): Promise<void> {
  const { caMount, csrMount, authMount, policy } = GUIDE_VAULT;
  const [mounts, auths] = [await readMap(access, "sys/mounts"), await readMap(access, "sys/auth")];
  if (!(`${authMount}/` in auths)) await callVault(access, "POST", `sys/auth/${authMount}`, { type: "kubernetes" });
  await configureLogin(access, setup);
  for (const mount of [caMount, csrMount]) {
    if (!(`${mount}/` in mounts)) await callVault(access, "POST", `sys/mounts/${mount}`, { type: "pki" });
  }
  await importRoot(access, setup.rootBundlePem);
  await callVault(access, "PUT", `sys/policies/acl/${policy}`, { policy: POLICY });
}

async function configureLogin(access: VaultAccess, { kubernetes, serviceAccountNames }: VaultSetup): Promise<void> {
  const { authMount, policy, role, namespace } = GUIDE_VAULT;
  await callVault(access, "POST", `auth/${authMount}/config`, {
    kubernetes_host: kubernetes.host,
    kubernetes_ca_cert: kubernetes.caCertPem,
    token_reviewer_jwt: kubernetes.reviewerJwt,
  });
  await callVault(access, "POST", `auth/${authMount}/role/${role}`, {
    bound_service_account_names: serviceAccountNames,
    bound_service_account_namespaces: [namespace],
    policies: [policy],
    ttl: "2400h",
  });
}

/** The first root of a mount signs by itself; a later one only when it is told to. */
async function importRoot(access: VaultAccess, bundlePem: string): Promise<void> {
  const { caMount } = GUIDE_VAULT;
  const answer = await callVault(access, "POST", `${caMount}/config/ca`, { pem_bundle: bundlePem });
  const { imported_issuers: imported, existing_issuers: existing } = answer as Record<string, string[] | null>;
  const issuer = (imported ?? existing ?? [])[0];
  if (issuer === undefined) throw new MeshError("vault_malformed", `${caMount}/config/ca: no issuer in the answer`);
  await callVault(access, "POST", `${caMount}/root/replace`, { default: issuer });
}

async function readMap(access: VaultAccess, path: string): Promise<Readonly<Record<string, unknown>>> {
  return callVault(access, "GET", path);
}

async function exists(access: VaultAccess, path: string): Promise<boolean> {
  try {
    await callVault(access, "GET", path);
    return true;
  } catch (error) {
    if (MeshError.from(error).code === "not_found") return false;
    throw error;
  }
}

const TIMEOUT_MS = 30_000;

/**
 * One call of Vault's HTTP API; returns the `data` of the answer, empty where there is none.
 * Throws `not_found` for a 404 without a reason, which is Vault's answer to reading what is not there.
 */
export async function callVault(
  { address, token, signal }: VaultAccess,
  method: "GET" | "POST" | "PUT" | "DELETE",
  path: string,
  body?: object,
): Promise<Readonly<Record<string, unknown>>> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const request = {
    method,
    headers: { "x-vault-token": token, "x-vault-request": "true" },
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  };
  const response = await fetch(new URL(`/v1/${path}`, address), request).catch((cause: unknown) => {
    signal?.throwIfAborted();
    const hint = "check the address, and that Vault runs and is reachable from here";
    throw new MeshError("vault_unreachable", `vault at ${address} does not answer`, { cause, hint });
  });
  const text = await response.text();
  if (!response.ok) throw refusal(response.status, `${method} ${path}`, text);
  return dataOf(text, path);
}

function dataOf(text: string, path: string): Readonly<Record<string, unknown>> {
  if (text === "") return {};
  try {
    return (JSON.parse(text) as { data?: Record<string, unknown> | null }).data ?? {};
  } catch (cause) {
    throw new MeshError("vault_malformed", `${path}: the answer is not json`, { cause });
  }
}

function refusal(status: number, request: string, text: string): MeshError {
  const reason = reasonOf(text);
  const message = `vault answered ${status} to ${request}${reason ? `: ${reason}` : ""}`;
  if (status === 404 && reason === "") return new MeshError("not_found", message);
  if (status === 503) return new MeshError("vault_sealed", message, { hint: "unseal it" });
  if (status === 403) return new MeshError("vault_denied", message, { hint: "use a token with root's power" });
  return new MeshError(status >= 500 ? "vault_unreachable" : "vault_rejected", message);
}

function reasonOf(text: string): string {
  try {
    return ((JSON.parse(text) as { errors?: string[] }).errors ?? []).join("; ").replace(/\s+/g, " ").trim();
  } catch {
    return "";
  }
}
