import type { KeyObject } from "node:crypto";
import {
  type Certificate,
  type CertificateFacts,
  certificateFacts,
  parseCertificate,
  parseCertificates,
} from "../../common/pki/certificate.ts";
import { buildChain } from "../../common/pki/chain.ts";
import { loadPrivateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { checkCa } from "../../common/pki/soundness.ts";

/** An intermediate CA that passed every check of `checkCa`, as istiod gets it. PEM without a final newline, but the key. */
export interface SigningCa {
  /** PKCS8 with a final newline. Secret. */
  readonly keyPem: string;
  readonly certificatePem: string;
  /** The intermediate itself first, then its issuers up to but without the root. */
  readonly chainPems: readonly string[];
  readonly rootPem: string;
  readonly facts: SigningCaFacts;
}

/** What the intermediate says of itself, and its root's SHA-256 (DER form, lower-case hex). */
export interface SigningCaFacts extends CertificateFacts {
  readonly rootSha256: string;
}

export interface SigningCaParts {
  readonly key: KeyObject;
  readonly certificate: Certificate;
  /** Where to look for the issuers, the root among them. */
  readonly pool: readonly Certificate[];
  readonly nowMs: number;
}

/** Builds the chain by signature and proves the CA. Throws `ca_unsound`. */
export async function proveSigningCa({ key, certificate, pool, nowMs }: SigningCaParts): Promise<SigningCa> {
  const { intermediates, root } = buildChain(certificate, pool);
  await checkCa({ certificate, key, intermediates, root, nowMs });
  return {
    keyPem: privateKeyToPem(key),
    certificatePem: certificate.pem,
    chainPems: [certificate, ...intermediates].map(({ pem }) => pem),
    rootPem: root.pem,
    facts: { ...certificateFacts(certificate), rootSha256: certificateFacts(root).sha256Fingerprint },
  };
}

/** Contents of the four files that istiod reads. */
export interface CaFiles {
  readonly "ca-key.pem": string;
  readonly "ca-cert.pem": string;
  readonly "cert-chain.pem": string;
  readonly "root-cert.pem": string;
}

/** The files of a CA. root-cert.pem has no final newline: istiod copies its bytes, and the guide compares them so. */
export function toCaFiles({ keyPem, certificatePem, chainPems, rootPem }: SigningCa): CaFiles {
  return {
    "ca-key.pem": keyPem,
    "ca-cert.pem": `${certificatePem}\n`,
    "cert-chain.pem": chainPems.map((pem) => `${pem}\n`).join(""),
    "root-cert.pem": rootPem,
  };
}

/** Reads the files back and proves the CA in them. Throws `ca_unsound` or `invalid_argument`. */
export async function readCaFiles(files: CaFiles, nowMs: number): Promise<SigningCa> {
  return proveSigningCa({
    key: loadPrivateKey(files["ca-key.pem"], "ca-key.pem"),
    certificate: parseCertificate(files["ca-cert.pem"], "ca-cert.pem"),
    pool: [
      ...parseCertificates(files["cert-chain.pem"], "cert-chain.pem"),
      ...parseCertificates(files["root-cert.pem"], "root-cert.pem"),
    ],
    nowMs,
  });
}
