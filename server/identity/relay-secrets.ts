import type { KeyObject } from "node:crypto";
import type { Authority } from "../../common/pki/authority.ts";
import { type Certificate, certificateFacts, parseCertificates, toPem } from "../../common/pki/certificate.ts";
import { buildChain, isSelfSigned } from "../../common/pki/chain.ts";
import { loadPrivateKey, publicKeyHash } from "../../common/pki/keys.ts";
import { checkCa } from "../../common/pki/soundness.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { KeyAndChain } from "../../common/session/tls.ts";
import type { SigningChain } from "./relay-ca.ts";

/**
 * Names of the relay's Secrets in the management cluster, as the reference has them; the key of a root that the server
 * made has one of its own, since an agent beside it may read the root's.
 */
export const RELAY_SECRETS = {
  root: "relay-root-tls-secret",
  rootKey: "relay-root-key-secret",
  signing: "relay-tls-signing-secret",
  server: "relay-server-tls-secret",
} as const;

/** The data of a Secret, decoded. */
export type SecretFiles = Readonly<Partial<Record<"ca.crt" | "tls.crt" | "tls.key", string>>>;

/** What the Secrets of the root say. */
export interface RelayRoot {
  readonly trusted: readonly Certificate[];
  /** The root with its key, where it is kept there: who made the root elsewhere keeps its key elsewhere. */
  readonly authority: Authority | undefined;
}

/** The server's certificate as it is served. */
export interface ServerFiles extends KeyAndChain {
  readonly leaf: Certificate;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/**
 * Reads `ca.crt`, and the root's own key where there is one: beside it, or in `keyFiles` if these are of one of the roots.
 * Throws `state_corrupt`.
 */
export function readRoot(files: SecretFiles, keyFiles: SecretFiles = {}): RelayRoot {
  const trusted = certificatesOf(files, "ca.crt");
  for (const root of trusted) {
    const { isCa, subject } = certificateFacts(root);
    if (!isCa) throw fault(`ca.crt: "${subject}" is no certificate authority`);
  }
  const beside = authorityOf(files);
  if (beside && !has(trusted, beside.certificate)) throw fault("tls.crt is not among the roots in ca.crt");
  const apart = authorityOf(keyFiles);
  return { trusted, authority: beside ?? (apart && has(trusted, apart.certificate) ? apart : undefined) };
}

/** Reads the certificate that signs those of agents. Throws `state_corrupt` for one that is none of the root's, or unsound. */
export async function readSigning(files: SecretFiles, { trusted }: RelayRoot, nowMs: number): Promise<SigningChain> {
  const { certificate, key, others } = keyPairOf(files);
  const issuer = { certificate, key };
  const alsoTrusted = trusted;
  if (isSelfSigned(certificate)) {
    const { isCa, notAfterMs } = certificateFacts(certificate);
    if (!isCa) throw fault("tls.crt is no certificate authority");
    if (nowMs > notAfterMs) throw fault(`tls.crt expired at ${new Date(notAfterMs).toISOString()}`);
    if (!has(trusted, certificate)) throw fault(NOT_TRUSTED);
    return { issuer, above: [], alsoTrusted };
  }
  const { intermediates, root } = chainOf(certificate, others, trusted);
  try {
    await checkCa({ certificate, key, intermediates, root, nowMs });
  } catch (cause) {
    throw fault(`tls.crt: ${MeshError.from(cause).message}`, cause);
  }
  return { issuer, above: [...intermediates, root], alsoTrusted };
}

/** Reads the server's certificate. Throws `state_corrupt` for one that agents would not take. */
export function readServer(files: SecretFiles, { trusted }: RelayRoot): ServerFiles {
  const { certificate: leaf, others } = keyPairOf(files);
  const { intermediates, root } = chainOf(leaf, others, trusted);
  const { extendedKeyUsages, notBeforeMs, notAfterMs } = certificateFacts(leaf);
  if (extendedKeyUsages?.includes(SERVER_AUTH) === false)
    throw fault("tls.crt: extended key usage excludes serverAuth");
  // The root is shown too, so that an agent that knows nothing but its pin finds it.
  const certificatePem = toPem([leaf, ...intermediates, root]);
  return { keyPem: files["tls.key"] ?? "", certificatePem, leaf, notBeforeMs, notAfterMs };
}

const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const NOT_TRUSTED = `tls.crt: its root is not in ${RELAY_SECRETS.root}`;

function chainOf(certificate: Certificate, others: readonly Certificate[], trusted: readonly Certificate[]) {
  let chain: ReturnType<typeof buildChain>;
  try {
    chain = buildChain(certificate, [...others, ...trusted]);
  } catch (cause) {
    throw fault(`tls.crt: ${MeshError.from(cause).message}`, cause);
  }
  if (!has(trusted, chain.root)) throw fault(NOT_TRUSTED);
  return chain;
}

function authorityOf(files: SecretFiles): Authority | undefined {
  if (files["tls.key"] === undefined || files["tls.key"] === "") return undefined;
  const { certificate, key } = keyPairOf(files);
  return { certificate, key };
}

function keyPairOf(files: SecretFiles): { certificate: Certificate; key: KeyObject; others: readonly Certificate[] } {
  const [certificate, ...rest] = certificatesOf(files, "tls.crt");
  const pem = files["tls.key"];
  if (!pem) throw fault("tls.key is missing");
  let key: KeyObject;
  try {
    key = loadPrivateKey(pem, "tls.key");
  } catch (cause) {
    throw fault(MeshError.from(cause).message, cause);
  }
  if (!certificate || publicKeyHash(key) !== publicKeyHash(certificate.x509.publicKey)) {
    throw fault("tls.key does not belong to tls.crt");
  }
  return { certificate, key, others: [...rest, ...(files["ca.crt"] ? certificatesOf(files, "ca.crt") : [])] };
}

function certificatesOf(files: SecretFiles, name: "ca.crt" | "tls.crt"): Certificate[] {
  const pem = files[name];
  if (!pem) throw fault(`${name} is missing`);
  try {
    return parseCertificates(pem, name);
  } catch (cause) {
    throw fault(MeshError.from(cause).message, cause);
  }
}

const has = (certificates: readonly Certificate[], wanted: Certificate): boolean =>
  certificates.some(({ x509 }) => x509.raw.equals(wanted.x509.raw));

const fault = (message: string, cause?: unknown): MeshError => new MeshError("state_corrupt", message, { cause });
