import type { Certificate } from "../../common/pki/certificate.ts";
import { isSelfSigned } from "../../common/pki/chain.ts";
import { publicKeyHash } from "../../common/pki/keys.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { readGivenFile } from "../../common/runtime/files.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { ResolveOverride } from "../vault/resolve.ts";
import { type VaultSession, withVault } from "../vault/session.ts";
import { certificatesOf, publishedIssuers } from "./issuers.ts";
import { checkLifetime } from "./lifetime.ts";
import type { IssueOrder, VaultAuthority } from "./order.ts";
import { makeRequest, names, type SigningRequest } from "./request.ts";
import { proveSigningCa, type SigningCa } from "./signing-ca.ts";

export interface IssueDeps {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly resolve?: readonly ResolveOverride[];
  /** Milliseconds until one call to Vault is given up. */
  readonly deadlineMs?: number;
  /** Hears of the steps on the way. */
  readonly log?: Pick<Log, "info">;
}

/** A CA that was obtained and proved, and remarks that are no failures ("LifetimeShortened: …"). */
export interface Issued extends SigningCa {
  readonly warnings: readonly string[];
  /** Vault's own remarks, for the log: a healthy answer nearly always has some. */
  readonly vaultWarnings: readonly string[];
}

/**
 * Obtains one intermediate CA from Vault and proves it: login, key and request, signature, chain to the root by
 * signature, all checks of `checkCa`, the expected root, a life that is worth installing. Makes one attempt.
 * Throws vault_*, `ca_unsound`, `ca_other_root`, `invalid_argument` for an order that cannot work, and
 * `failed_precondition` for a credential that is not there.
 */
export async function obtain(order: IssueOrder, deps: IssueDeps): Promise<Issued> {
  const { server, namespace, auth } = order.vault;
  const { signal, resolve = [], deadlineMs, log } = deps;
  const onLogin = (caller: string): void => log?.info("logged in to vault", { server, caller });
  const caPem = await readCaBundle(order.vault, signal);
  return withVault({ server, namespace, auth, caPem, resolve, deadlineMs, signal, onLogin }, async (vault) => {
    const request = await makeRequest(order, vault);
    let signed: Signed;
    let kept: readonly string[] = [];
    try {
      signed = await sign(order, vault, request);
      log?.info("vault signed the certificate", { server, caPath: order.vault.caPath });
    } finally {
      kept = await request.cleanUp();
    }
    const ca = await prove(order, vault, { request, signed, nowMs: deps.clock.now() });
    const warnings = [...checkLifetime(order, ca, deps.clock.now()), ...kept];
    return { ...ca, warnings, vaultWarnings: [...request.warnings, ...signed.warnings] };
  });
}

async function readCaBundle({ caBundlePem, caLocalPath }: VaultAuthority, signal: AbortSignal) {
  if (caBundlePem !== undefined || caLocalPath === undefined) return caBundlePem;
  return readGivenFile(caLocalPath, signal).catch((cause: unknown) => {
    signal.throwIfAborted();
    const fault =
      (cause instanceof MeshError ? cause.message : (cause as NodeJS.ErrnoException).code) ?? "unknown fault";
    throw new MeshError("failed_precondition", `caLocalPath ${caLocalPath} cannot be read: ${fault}`, {
      retriable: true,
      hint: "mount the certificates that verify vault there, or give them as caBundle",
      cause,
    });
  });
}

interface Signed {
  readonly certificate: Certificate;
  readonly pool: readonly Certificate[];
  readonly warnings: readonly string[];
}

async function sign(order: IssueOrder, vault: VaultSession, { csrPem, key }: SigningRequest): Promise<Signed> {
  const { caPath } = order.vault;
  const body = { csr: csrPem, format: "pem", ttl: `${order.ttlSeconds}s`, ...names(order) };
  const reply = await vault.write({ path: caPath, setting: "caPath" }, body);
  const pool = certificatesOf(reply, caPath);
  const ours = publicKeyHash(key);
  const certificate = pool.find(({ x509 }) => publicKeyHash(x509.publicKey) === ours);
  if (certificate === undefined) {
    throw new MeshError(
      "vault_malformed",
      `none of ${pool.length} certificates from ${caPath} is of the requested key`,
    );
  }
  return { certificate, pool, warnings: reply.warnings };
}

interface Evidence {
  readonly request: SigningRequest;
  readonly signed: Signed;
  readonly nowMs: number;
}

async function prove(order: IssueOrder, vault: VaultSession, evidence: Evidence): Promise<SigningCa> {
  const { request, signed, nowMs } = evidence;
  const { server, caPath } = order.vault;
  const { certificate, pool } = signed;
  const published = pool.some(isSelfSigned) ? [] : await publishedIssuers(caPath, vault);
  const ca = await proveSigningCa({ key: request.key, certificate, pool: [...pool, ...published], nowMs });
  const { expectedRootSha256: wanted } = order;
  if (wanted !== undefined && wanted !== ca.facts.rootSha256) {
    throw new MeshError(
      "ca_other_root",
      `the ca of ${caPath} at ${server} ends in root ${ca.facts.rootSha256}, want ${wanted}`,
      { hint: "give this cluster's vault a ca of the shared root; another root is never rolled out" },
    );
  }
  return ca;
}
