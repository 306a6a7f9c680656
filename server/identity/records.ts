import * as z from "zod";

const certificateRecord = z.object({
  /** Upper-case hex, as node:crypto prints it. */
  serial: z.string(),
  /** SHA-256 of the DER form, lower-case hex. */
  fingerprint: z.string(),
  /** SHA-256 of the key's SubjectPublicKeyInfo, lower-case hex. */
  keyHash: z.string(),
  notAfterMs: z.number(),
  /** SHA-256 of the PEM roots that were sent with it, lower-case hex: what its holder trusts. */
  trust: z.string().optional(),
});

const tokenRecord = z.object({
  id: z.string(),
  /** Hex SHA-256 of the secret. */
  secretHash: z.string(),
  expiresAtMs: z.number(),
  /** Wrong secrets given with this id. */
  failures: z.number().int(),
  /** The first use; a repetition with the same key is answered for a while. */
  used: z.object({ atMs: z.number(), keyHash: z.string() }).optional(),
});

const clusterRecord = z.object({
  name: z.string(),
  state: z.enum(["REGISTERED", "ENROLLED", "REVOKED"]),
  /** The certificate in use. */
  current: certificateRecord.optional(),
  /** Issued and not yet seen; its first use makes it `current`. */
  next: certificateRecord.optional(),
  /** The one before `current`, accepted until `refusedFromMs`. */
  previous: certificateRecord.extend({ refusedFromMs: z.number() }).optional(),
  token: tokenRecord.optional(),
});

export const clustersSchema = z.object({ clusters: z.array(clusterRecord) });

/** A certificate that was issued. */
export type CertificateRecord = Readonly<z.output<typeof certificateRecord>>;
/** A join token, without its secret. */
export type TokenRecord = Readonly<z.output<typeof tokenRecord>>;
/** All that the server knows of one cluster's identity. */
export type ClusterRecord = Readonly<z.output<typeof clusterRecord>>;
