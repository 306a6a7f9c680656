import { randomUUID, type KeyObject } from "node:crypto";
import type { Clock } from "../common/runtime/clock.ts";
import { type Certificate, certificateFacts } from "../common/pki/certificate.ts";
import { buildChain } from "../common/pki/chain.ts";
import { publicKeyHash } from "../common/pki/keys.ts";
import { invalid } from "./protocol.ts";

export interface PkiOptions {
  readonly clock: Clock;
  /** Seconds, 0 for the system's own. Read at every use: `tune` changes them. */
  readonly tuning: Readonly<{ defaultLeaseTtlS: number; maxLeaseTtlS: number }>;
}

/** A CA certificate of the mount, and the id of its key where that is here too. */
export interface Issuer {
  readonly certificate: Certificate;
  readonly keyId: string;
}

/** One pki mount. */
export interface Pki extends PkiOptions {
  readonly keys: Map<string, KeyObject>;
  readonly issuers: Map<string, Issuer>;
  defaultKey: string | undefined;
  defaultIssuer: string | undefined;
}

/** What Vault says to nearly every answer of a mount that was not told its own addresses. */
export const NO_AIA =
  "This mount hasn't configured any authority information access (AIA) fields; this may make it harder for systems to find missing certificates in the chain or to validate revocation status of certificates. Consider updating /config/urls or the newly generated issuer with this information.";
/** The issuer that signs where none is named. */
export function defaultIssuer({ issuers, defaultIssuer: id }: Pki): Issuer {
  const issuer = issuers.get(id ?? "");
  if (!issuer) throw invalid("no default issuer currently configured");
  return issuer;
}

/** PEM as Vault prints it: without a final newline, whatever the imported text looked like. */
export function pemOf({ x509 }: Certificate): string {
  return x509.toString().trim();
}

/** The issuer and the certificates above it that the mount knows. */
export function chainOf(pki: Pki, { certificate }: Issuer): readonly Certificate[] {
  try {
    const { intermediates, root } = buildChain(
      certificate,
      Array.from(pki.issuers.values(), (each) => each.certificate),
    );
    return [certificate, ...intermediates, root];
  } catch {
    return [certificate];
  }
}

/** Puts a certificate into the mount; the first one with a key becomes the default. */
export function addIssuer(pki: Pki, certificate: Certificate): { id: string; existing: boolean } {
  const { sha256Fingerprint } = certificateFacts(certificate);
  for (const [id, issuer] of pki.issuers) {
    if (certificateFacts(issuer.certificate).sha256Fingerprint === sha256Fingerprint) return { id, existing: true };
  }
  const hash = publicKeyHash(certificate.x509.publicKey);
  const keyId = Array.from(pki.keys).find(([, key]) => publicKeyHash(key) === hash)?.[0] ?? "";
  const id = randomUUID();
  pki.issuers.set(id, { certificate, keyId });
  if (keyId !== "") pki.defaultIssuer ??= id;
  return { id, existing: false };
}

/** Puts a key into the mount; the first one becomes the default. */
export function addKey(pki: Pki, key: KeyObject): { id: string; existing: boolean } {
  const hash = publicKeyHash(key);
  for (const [id, other] of pki.keys) if (publicKeyHash(other) === hash) return { id, existing: true };
  const id = randomUUID();
  pki.keys.set(id, key);
  pki.defaultKey ??= id;
  return { id, existing: false };
}
