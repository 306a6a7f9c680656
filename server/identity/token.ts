import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** A single-use token as its holder has it: `rjt1.<id>.<secret>`. */
export interface JoinToken {
  /** Names the token in the records; no secret. */
  readonly id: string;
  readonly secret: string;
}

export const DEFAULT_TOKEN_TTL_MS = 30 * 60_000;
export const MAX_TOKEN_TTL_MS = 24 * 3_600_000;

const FORM = /^rjt1\.(?<id>[0-9a-f]{16})\.(?<secret>[A-Za-z0-9_-]{43})$/;

/** A token of 64 bits of name and 256 bits of secret. */
export function makeJoinToken(): JoinToken {
  return { id: randomBytes(8).toString("hex"), secret: randomBytes(32).toString("base64url") };
}

export const formatJoinToken = ({ id, secret }: JoinToken): string => `rjt1.${id}.${secret}`;

/** undefined for anything that is not a token. */
export function parseJoinToken(text: string): JoinToken | undefined {
  const groups = FORM.exec(text.trim())?.groups;
  return groups ? { id: groups["id"] ?? "", secret: groups["secret"] ?? "" } : undefined;
}

/** What is stored of the secret. Hashed without salt or stretching: it is 256 random bits, not a password. */
export const hashSecret = (secret: string): string => createHash("sha256").update(secret).digest("hex");

/** Compares in constant time. */
export function secretMatches(secret: string, storedHash: string): boolean {
  const [given, stored] = [Buffer.from(hashSecret(secret)), Buffer.from(storedHash)];
  return given.length === stored.length && timingSafeEqual(given, stored);
}
