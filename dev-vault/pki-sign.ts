import type { KeyObject } from "node:crypto";
import { signCertificate } from "../common/pki/authority.ts";
import { type Certificate, certificateFacts } from "../common/pki/certificate.ts";
import { type Csr, readCsr } from "../common/pki/csr.ts";
import { generateKey, type KeySpec } from "../common/pki/keys.ts";
import type { Subject, SubjectAltNames } from "../common/pki/names.ts";
import type { Fields } from "./fields.ts";
import { goDuration } from "./fields.ts";
import { chainOf, type Issuer, NO_AIA, pemOf, type Pki } from "./pki-store.ts";
import { invalid, type Reply, VaultError, type VaultRequest } from "./protocol.ts";
import { SYSTEM_MAX_TTL_S } from "./tokens.ts";

/** Vault dates certificates back by this, for clocks that are behind. */
const NOT_BEFORE_DURATION_MS = 30_000;

/** `root/sign-intermediate` and `issuer/X/sign-intermediate`. */
export async function signIntermediate(pki: Pki, { params, fields }: VaultRequest): Promise<Reply> {
  const issuer = signer(pki, params["issuer"]);
  const csr = await readRequest(fields.text("csr"));
  const format = fields.text("format") ?? "pem";
  if (format !== "pem" && format !== "pem_bundle") {
    throw invalid('The "format" path parameter must be "pem", "der" or "pem_bundle"');
  }
  const names = fields.flag("use_csr_values")
    ? { ...csr.subject, ...pickSans(csr) }
    : certifiedNames(fields, csr.subject);
  const { notBeforeMs, notAfterMs, warnings } = signedLife(pki, fields, issuer);
  const { pathLength, pathWarnings } = pathLengthBelow(issuer, fields.integer("max_path_length"));
  const certificate = await signCertificate({
    issuer: { certificate: issuer.certificate, key: keyOf(pki, issuer) },
    subject: names,
    publicKey: csr.publicKey,
    ca: pathLength === undefined ? {} : { pathLength },
    ...pickSans(names),
    notBeforeMs,
    notAfterMs,
  });
  const chain = [certificate, ...chainOf(pki, issuer)];
  return { data: describe(certificate, chain, format), warnings: [NO_AIA, ...pathWarnings, ...warnings] };
}

function describe(
  certificate: Certificate,
  chain: readonly Certificate[],
  format: string,
): Readonly<Record<string, unknown>> {
  const { serial, notAfterMs } = certificateFacts(certificate);
  const pems = chain.map(pemOf);
  return {
    ca_chain: pems,
    certificate: format === "pem_bundle" ? pems.join("\n") : pems[0],
    expiration: Math.floor(notAfterMs / 1000),
    issuing_ca: pems[1],
    serial_number: serial,
  };
}

/** The issuer that a path names; unlike other reads a mount without any is a fault of the server (500), as in Vault. */
function signer(pki: Pki, name = "default"): Issuer {
  const issuer = name === "default" ? pki.issuers.get(pki.defaultIssuer ?? "") : pki.issuers.get(name);
  if (issuer) return issuer;
  const reason =
    name === "default" ? "no default issuer currently configured" : `unable to find PKI issuer for reference: ${name}`;
  throw new VaultError(500, `could not fetch the CA certificate (was one set?): ${reason}`, { fault: true });
}

function keyOf(pki: Pki, { keyId }: Issuer): KeyObject {
  const key = pki.keys.get(keyId);
  if (!key)
    throw new VaultError(500, "could not fetch the CA certificate (was one set?): the issuer has no key", {
      fault: true,
    });
  return key;
}

async function readRequest(pem: string | undefined): Promise<Csr> {
  if (pem === undefined) throw invalid('"csr" is empty');
  if (!pem.includes("-----BEGIN ")) throw invalid("csr contains no data");
  try {
    return await readCsr(pem);
  } catch (error) {
    throw invalid(`certificate request could not be parsed: ${(error as Error).message}`);
  }
}

type Names = Subject & Partial<SubjectAltNames>;

function pickSans({ uriSans = [], dnsSans = [], ipSans = [] }: Names): SubjectAltNames {
  return { uriSans, dnsSans, ipSans };
}

/** Subject and names that a request's own fields ask for; the common name, if it is a host's, is one of the names too. */
export function certifiedNames(fields: Fields, fallback: Subject = {}): Names {
  const commonName = fields.text("common_name") ?? fallback.commonName;
  const organization = fields.text("organization");
  const isHost = commonName !== undefined && /^[a-z0-9*]([-a-z0-9.]*[a-z0-9])?$/i.test(commonName);
  const own = isHost && !fields.flag("exclude_cn_from_sans") ? [commonName] : [];
  return {
    ...(organization === undefined ? {} : { organization }),
    ...(commonName === undefined ? {} : { commonName }),
    uriSans: fields.list("uri_sans") ?? [],
    dnsSans: Array.from(new Set([...own, ...(fields.list("alt_names") ?? [])])),
    ipSans: fields.list("ip_sans") ?? [],
  };
}

interface SignedLife {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly warnings: readonly string[];
}

/** The life asked for, within what the mount allows and, as since Vault 1.17, within the issuer's own. */
export function signedLife({ clock, tuning }: Pki, fields: Fields, issuer?: Issuer): SignedLife {
  const maxS = tuning.maxLeaseTtlS || SYSTEM_MAX_TTL_S;
  const wantedS = fields.seconds("ttl") ?? Math.min(tuning.defaultLeaseTtlS || SYSTEM_MAX_TTL_S, maxS);
  const warnings: string[] = [];
  if (wantedS > maxS) {
    const [wanted, max] = [goDuration(wantedS), goDuration(maxS)];
    warnings.push(`TTL "${wanted}" is longer than permitted maxTTL "${max}", so maxTTL is being used`);
  }
  const nowMs = clock.now();
  const capMs = issuer ? certificateFacts(issuer.certificate).notAfterMs : Infinity;
  const notAfterMs = nowMs + Math.min(wantedS, maxS) * 1000;
  if (notAfterMs > capMs) {
    warnings.push("the signed intermediary CA certificate's notAfter was truncated to the issuer's notAfter");
  }
  return { notBeforeMs: nowMs - NOT_BEFORE_DURATION_MS, notAfterMs: Math.min(notAfterMs, capMs), warnings };
}

function pathLengthBelow(
  { certificate }: Issuer,
  wanted = -1,
): { pathLength: number | undefined; pathWarnings: string[] } {
  const { pathLength: above } = certificateFacts(certificate);
  if (above === 0) {
    throw invalid("signing certificate has a max path length of zero, and cannot issue further CA certificates");
  }
  const inherited = above === undefined ? undefined : above - 1;
  const pathLength = wanted < 0 ? inherited : wanted;
  const warning =
    "Max path length of the signed certificate is zero. This certificate cannot be used to issue intermediate CA certificates.";
  return { pathLength, pathWarnings: pathLength === 0 ? [warning] : [] };
}

const RSA_BITS = [2048, 3072, 4096] as const;

/** Makes the key that `key_type` and `key_bits` ask for; RSA of 2048 bits by default. */
export async function generateRequestedKey(fields: Fields): Promise<KeyObject> {
  return generateKey(keySpecOf(fields.text("key_type") ?? "rsa", fields.integer("key_bits") ?? 0));
}

function keySpecOf(type: string, wantedBits: number): KeySpec {
  if (type === "ec") {
    if (wantedBits !== 0 && wantedBits !== 256) throw invalid(`unsupported bit length for EC key: ${wantedBits}`);
    return { type: "ec", curve: "P-256" };
  }
  if (type !== "rsa") throw invalid(`unknown key type ${type}`);
  if (wantedBits > 0 && wantedBits < 2048) {
    throw invalid(`RSA keys < 2048 bits are unsafe and not supported: got ${wantedBits}`);
  }
  const bits = RSA_BITS.find((each) => each === (wantedBits || 2048));
  if (bits === undefined) throw invalid(`unsupported bit length for RSA key: ${wantedBits}`);
  return { type: "rsa", bits };
}

/** The private key as `…/generate/exported` hands it out: PKCS1 or SEC1, or PKCS8 on request, without a final newline. */
export function exportKey(key: KeyObject, format: string | undefined): Readonly<Record<string, string>> {
  const type = key.asymmetricKeyType === "ec" ? "ec" : "rsa";
  const traditional = type === "ec" ? "sec1" : "pkcs1";
  const pem = key.export({ type: format === "pkcs8" ? "pkcs8" : traditional, format: "pem" });
  return { private_key: pem.toString().trim(), private_key_type: type };
}
