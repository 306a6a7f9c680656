import { randomBytes, type KeyObject } from "node:crypto";
import { type Certificate, certificateFacts, parseCertificate } from "./certificate.ts";
import { publicKeyDer } from "./keys.ts";
import { type Subject, subjectAltNameExtension, type SubjectAltNames, subjectName } from "./names.ts";
import { toSigningKey } from "./signing-key.ts";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "./x509.ts";

/** Object identifiers of the extended key usages that we give. */
export const EXTENDED_KEY_USAGES = { serverAuth: "1.3.6.1.5.5.7.3.1", clientAuth: "1.3.6.1.5.5.7.3.2" } as const;

/** A certificate that may sign, with its private key. */
export interface Authority {
  readonly certificate: Certificate;
  readonly key: KeyObject;
}

/** First and last moment, in milliseconds since the epoch; a certificate holds whole seconds, so they are cut to those. */
export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface RootRequest extends Validity {
  readonly subject: Subject;
  readonly key: KeyObject;
  /** How many CAs may stand below it in a row; unlimited when absent. */
  readonly pathLength?: number;
}

export interface CertificateRequest extends Validity, Partial<SubjectAltNames> {
  readonly issuer: Authority;
  readonly subject: Subject;
  /** The key to certify, public or private; of a CSR: `(await readCsr(pem)).publicKey`. */
  readonly publicKey: KeyObject;
  /** Present for a CA (usages keyCertSign, cRLSign), absent for a leaf (usages digitalSignature, keyEncipherment). */
  readonly ca?: { readonly pathLength?: number };
  readonly extendedKeyUsages?: readonly (keyof typeof EXTENDED_KEY_USAGES)[];
}

/** Makes a self-signed CA. */
export async function createRootCa({ subject, key, pathLength, ...validity }: RootRequest): Promise<Certificate> {
  const ski = await SubjectKeyIdentifierExtension.create(publicKeyDer(key));
  const name = subjectName(subject);
  return issue({
    key,
    issuer: name,
    subject: name,
    publicKey: key,
    validity,
    extensions: [...caExtensions(pathLength), ski, new AuthorityKeyIdentifierExtension(ski.keyId)],
  });
}

/**
 * Signs a certificate with a random serial of 127 bits. It follows the request and checks nothing: what a CA may sign,
 * and for how long, is the caller's to decide.
 */
export async function signCertificate(request: CertificateRequest): Promise<Certificate> {
  const { issuer, ca, extendedKeyUsages = [] } = request;
  const san = subjectAltNameExtension(request);
  const usages = extendedKeyUsages.map((name) => EXTENDED_KEY_USAGES[name]);
  return issue({
    key: issuer.key,
    issuer: new X509Certificate(issuer.certificate.x509.raw).subjectName,
    subject: subjectName(request.subject),
    publicKey: request.publicKey,
    validity: request,
    extensions: [
      ...(ca ? caExtensions(ca.pathLength) : LEAF_EXTENSIONS),
      ...(usages.length > 0 ? [new ExtendedKeyUsageExtension(usages)] : []),
      await SubjectKeyIdentifierExtension.create(publicKeyDer(request.publicKey)),
      await authorityKeyIdentifier(issuer.certificate),
      ...(san ? [san] : []),
    ],
  });
}

const LEAF_EXTENSIONS: readonly Extension[] = [
  new BasicConstraintsExtension(false, undefined, true),
  new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true),
];

function caExtensions(pathLength: number | undefined): Extension[] {
  return [
    new BasicConstraintsExtension(true, pathLength, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ];
}

/** The issuer's own key identifier where it has one: verifiers compare the two, however the issuer's was computed. */
async function authorityKeyIdentifier(issuer: Certificate): Promise<Extension> {
  const { skiHex } = certificateFacts(issuer);
  if (skiHex !== undefined) return new AuthorityKeyIdentifierExtension(skiHex.replaceAll(":", ""));
  return AuthorityKeyIdentifierExtension.create(publicKeyDer(issuer.x509.publicKey));
}

interface Issue {
  readonly key: KeyObject;
  readonly issuer: ReturnType<typeof subjectName> | X509Certificate["subjectName"];
  readonly subject: ReturnType<typeof subjectName>;
  readonly publicKey: KeyObject;
  readonly validity: Validity;
  readonly extensions: Extension[];
}

async function issue({ key, issuer, subject, publicKey, validity, extensions }: Issue): Promise<Certificate> {
  const { keys, algorithm } = toSigningKey(key);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    issuer,
    subject,
    publicKey: publicKeyDer(publicKey),
    signingKey: keys.privateKey,
    signingAlgorithm: algorithm,
    notBefore: new Date(validity.notBeforeMs),
    notAfter: new Date(validity.notAfterMs),
    extensions,
  });
  return parseCertificate(certificate.toString("pem"));
}

/** Sixteen bytes; the first is 0x40 to 0x7f, so that DER neither adds a sign byte nor drops a zero. */
function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}
