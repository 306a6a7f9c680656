import { X509Certificate } from "node:crypto";
import { MeshError } from "../runtime/errors.ts";
import { readSubjectAltNames, type SubjectAltNames } from "./names.ts";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate as ParsedCertificate,
} from "./x509.ts";

/** One certificate: node's object, which checks signatures, beside the text it came from. */
export interface Certificate {
  /** The PEM block, byte for byte as it was given, without what stood around it and without a final newline. */
  readonly pem: string;
  readonly x509: X509Certificate;
}

export type KeyUsageName = keyof typeof KeyUsageFlags;

/** What stands in a certificate. Hex is lower case, times are milliseconds since the epoch. */
export interface CertificateFacts extends SubjectAltNames {
  /** Bytes separated by colons, as Vault prints it. */
  readonly serial: string;
  /** Subject and authority key identifiers, bytes separated by colons; undefined where there is none. */
  readonly skiHex: string | undefined;
  readonly akiHex: string | undefined;
  /** SHA-256 of the DER bytes. */
  readonly sha256Fingerprint: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** In the order of the certificate: `O=my-org, CN=istiod`. Empty for an empty name. */
  readonly subject: string;
  readonly issuer: string;
  readonly isCa: boolean;
  /** undefined: no limit. */
  readonly pathLength: number | undefined;
  /** undefined: no such extension, so every use is allowed. */
  readonly keyUsages: readonly KeyUsageName[] | undefined;
  /** Object identifiers; undefined: no such extension. */
  readonly extendedKeyUsages: readonly string[] | undefined;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/**
 * Reads all certificates of a PEM text, in its order; text around the blocks is skipped, as openssl does.
 * Throws `invalid_argument` with `name` in front when there is none or one cannot be read.
 */
export function parseCertificates(pem: string, name = "certificate"): Certificate[] {
  const blocks = pem.match(CERTIFICATE) ?? [];
  if (blocks.length === 0) {
    throw new MeshError("invalid_argument", `${name}: no pem certificate in ${pem.length} characters`);
  }
  return blocks.map((block, index) => {
    try {
      return { pem: block, x509: new X509Certificate(block) };
    } catch (cause) {
      throw new MeshError("invalid_argument", `${name}: block ${index + 1} of ${blocks.length} is not a certificate`, {
        cause,
      });
    }
  });
}

/** Reads a PEM text that must hold exactly one certificate, as `parseCertificates` does. */
export function parseCertificate(pem: string, name = "certificate"): Certificate {
  const [certificate, ...others] = parseCertificates(pem, name);
  if (certificate === undefined || others.length > 0) {
    throw new MeshError("invalid_argument", `${name}: ${others.length + 1} certificates, want 1`);
  }
  return certificate;
}

/** Joins certificates into one PEM text with a newline after each. */
export function toPem(certificates: readonly Certificate[]): string {
  return certificates.map(({ pem }) => `${pem}\n`).join("");
}

/** Reads what a certificate says of itself; nothing is checked. Throws `invalid_argument` when an extension is broken. */
export function certificateFacts({ x509 }: Certificate): CertificateFacts {
  return {
    serial: colonHex(x509.serialNumber),
    sha256Fingerprint: x509.fingerprint256.replaceAll(":", "").toLowerCase(),
    notBeforeMs: Date.parse(x509.validFrom),
    notAfterMs: Date.parse(x509.validTo),
    subject: oneLine(x509.subject),
    issuer: oneLine(x509.issuer),
    ...extensions(x509),
  };
}

function extensions(x509: X509Certificate) {
  try {
    const parsed = new ParsedCertificate(x509.raw);
    const constraints = parsed.getExtension(BasicConstraintsExtension);
    const usages = parsed.getExtension(KeyUsagesExtension)?.usages;
    const extendedUsages = parsed.getExtension(ExtendedKeyUsageExtension)?.usages;
    return {
      skiHex: colonHex(parsed.getExtension(SubjectKeyIdentifierExtension)?.keyId),
      akiHex: colonHex(parsed.getExtension(AuthorityKeyIdentifierExtension)?.keyId),
      isCa: constraints?.ca ?? false,
      pathLength: constraints?.pathLength,
      keyUsages: usages === undefined ? undefined : USAGES.filter((name) => (usages & KeyUsageFlags[name]) !== 0),
      extendedKeyUsages: extendedUsages && Array.from(extendedUsages, String),
      ...readSubjectAltNames(parsed.getExtension(SubjectAlternativeNameExtension)),
    };
  } catch (cause) {
    throw new MeshError("invalid_argument", `certificate ${colonHex(x509.serialNumber)}: an extension cannot be read`, {
      cause,
    });
  }
}

const USAGES = Object.keys(KeyUsageFlags).filter((name): name is KeyUsageName => Number.isNaN(Number(name)));

function colonHex(hex: string): string;
function colonHex(hex: string | undefined): string | undefined;
function colonHex(hex: string | undefined): string | undefined {
  return hex?.toLowerCase().match(/../g)?.join(":");
}

/** Node prints one attribute a line, and types an empty name as a string though it gives undefined. */
function oneLine(name: string | undefined): string {
  return (name ?? "").split("\n").join(", ");
}
