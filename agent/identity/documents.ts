import * as z from "zod";
import { certificateFacts, parseCertificates } from "../../common/pki/certificate.ts";
import { loadPrivateKey, publicKeyHash } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { type KeyAndChain, readPeerIdentity } from "../../common/session/tls.ts";

const storedCredentials = z.object({
  keyPem: z.string(),
  /** Leaf first. */
  certificatePem: z.string(),
  trustBundlePem: z.string(),
});

/** The document identity.json. */
export const identitySchema = z.strictObject({
  current: storedCredentials.optional(),
  /** The one before, until the server was seen to take the current one. */
  previous: storedCredentials.optional(),
  /** Key of an enrolment whose answer has not come; the next attempt uses it again, so that a lost answer costs nothing. */
  pendingKeyPem: z.string().optional(),
  /** Hex SHA-256 of the token that `current` came from: the same file is not taken for a new token. */
  usedTokenHash: z.string().optional(),
  /** True for a certificate that somebody else obtained and put there: it is used as it is, and never overwritten. */
  supplied: z.boolean().optional(),
});

export type StoredCredentials = Readonly<z.output<typeof storedCredentials>>;
export type StoredIdentity = Readonly<z.output<typeof identitySchema>>;

/** What the agent shows to the server, and what it verifies the server with. */
export interface AgentCredentials extends KeyAndChain {
  readonly trustBundlePem: string;
  readonly cluster: string;
  /** Upper-case hex. */
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/**
 * Reads stored or received credentials. Throws `invalid_argument` when certificate, key and cluster do not belong
 * together.
 */
export function readCredentials(stored: StoredCredentials, cluster: string): AgentCredentials {
  const [leaf] = parseCertificates(stored.certificatePem, "client certificate");
  parseCertificates(stored.trustBundlePem, "trust bundle");
  if (!leaf) throw new MeshError("invalid_argument", "client certificate: no certificate");
  const { identity, serial } = readPeerIdentity(leaf.x509.raw);
  if (identity.kind !== "cluster" || identity.name !== cluster) {
    throw new MeshError(
      "invalid_argument",
      `client certificate is of ${identity.kind} ${identity.name}, not ${cluster}`,
    );
  }
  if (publicKeyHash(leaf.x509.publicKey) !== publicKeyHash(loadPrivateKey(stored.keyPem))) {
    throw new MeshError("invalid_argument", "client certificate: the key belongs to another certificate");
  }
  const { notBeforeMs, notAfterMs } = certificateFacts(leaf);
  return { ...stored, cluster, serial, notBeforeMs, notAfterMs };
}
