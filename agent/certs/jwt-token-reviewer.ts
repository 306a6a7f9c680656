import { readFile } from "node:fs/promises";
import { createLocalJWKSet, errors, jwtVerify, type JSONWebKeySet, type JWTVerifyGetKey } from "jose";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { LINK_AUDIENCE } from "../../common/session/link.ts";
import { readPodIdentity, refused, type PodIdentity, type TokenReviewer } from "./token-reviewer.ts";

/** Public-key signatures alone: a symmetric one could be made by whoever reads the key set. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"];

/** Clocks of two machines differ by some seconds. */
const LEEWAY_SECONDS = 5;

/** Longer than any token of Kubernetes; what is longer is not read at all. */
const MAX_TOKEN_CHARACTERS = 16 * 1024;

export interface JwtTokenReviewerOptions {
  /** JSON Web Key Set of the issuer. It is read at each review, so rotated keys are in force at once. */
  readonly jwksFile: string;
  /** Issuer claim that tokens must have. */
  readonly issuer: string;
  readonly clock: Clock;
}

/** Verifies service account tokens without an API server: standalone mode. */
export class JwtTokenReviewer implements TokenReviewer {
  readonly #options: JwtTokenReviewerOptions;
  #keys: { readonly text: string; readonly find: JWTVerifyGetKey } | undefined;

  constructor(options: JwtTokenReviewerOptions) {
    this.#options = options;
  }

  async review(token: string): Promise<PodIdentity> {
    if (token.length > MAX_TOKEN_CHARACTERS) throw refused(`it is longer than ${MAX_TOKEN_CHARACTERS} characters`);
    const find = await this.#readKeys();
    const { issuer, clock } = this.#options;
    try {
      const { payload } = await jwtVerify(token, find, {
        algorithms: ALGORITHMS,
        issuer,
        audience: LINK_AUDIENCE,
        clockTolerance: LEEWAY_SECONDS,
        currentDate: new Date(clock.now()),
        requiredClaims: ["exp", "sub"],
      });
      return readPodIdentity(payload);
    } catch (error) {
      throw error instanceof errors.JOSEError ? refused(reasonOf(error), hintOf(error)) : error;
    }
  }

  async #readKeys(): Promise<JWTVerifyGetKey> {
    const { jwksFile } = this.#options;
    try {
      const text = await readFile(jwksFile, "utf8");
      if (this.#keys?.text !== text) {
        this.#keys = { text, find: createLocalJWKSet(JSON.parse(text) as JSONWebKeySet) };
      }
      return this.#keys.find;
    } catch (cause) {
      throw new MeshError("unavailable", "tokens cannot be verified: the key set of their issuer cannot be read", {
        cause,
        hint: `put the issuer's json web key set into ${jwksFile}`,
      });
    }
  }
}

/** Names what is wrong without jose's own words, which may quote claims. */
function reasonOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return "it has expired";
  if (error instanceof errors.JWTClaimValidationFailed) return `claim ${error.claim} is ${CLAIM_FAULTS[error.reason]}`;
  if (error instanceof errors.JWSSignatureVerificationFailed) return "its signature does not verify";
  if (error instanceof errors.JWKSNoMatchingKey) return "no key of its issuer matches it";
  if (error instanceof errors.JWKSMultipleMatchingKeys) return "it does not say which key of its issuer signed it";
  if (error instanceof errors.JOSEAlgNotAllowed) return `it must be signed with one of ${ALGORITHMS.join(", ")}`;
  return "it is not a signed json web token";
}

const CLAIM_FAULTS: Readonly<Record<string, string>> = {
  missing: "missing",
  invalid: "malformed",
  check_failed: "not the one wanted",
  unspecified: "not acceptable",
};

function hintOf(error: errors.JOSEError): string | undefined {
  if (error instanceof errors.JWTExpired) return "write a fresh token into the token file";
  if (!(error instanceof errors.JWTClaimValidationFailed)) return undefined;
  return error.claim === "aud" ? `request the token for audience ${LINK_AUDIENCE}` : undefined;
}
