import { randomBytes } from "node:crypto";
import type { Clock } from "../common/runtime/clock.ts";
import { shortDuration } from "./fields.ts";
import { invalid } from "./protocol.ts";

/** Longest life of a token and of a certificate where nothing else is set: 32 days, as in Vault. */
export const SYSTEM_MAX_TTL_S = 2_764_800;

/** What a token is made of. Times to live are seconds; 0 means not set. */
export interface TokenSpec {
  readonly policies: readonly string[];
  readonly displayName: string;
  /** Path of the request that made it. */
  readonly path: string;
  readonly meta: Readonly<Record<string, string>> | null;
  /** undefined: an orphan, which outlives whoever made it. */
  readonly parent?: Token;
  readonly ttlS: number;
  readonly maxTtlS: number;
  readonly explicitMaxTtlS: number;
  /** A periodic token gets this life at every renewal. */
  readonly periodS: number;
  readonly renewable: boolean;
  readonly entityId: string;
}

export interface Token extends TokenSpec {
  readonly id: string;
  readonly accessor: string;
  readonly createdAtMs: number;
  readonly creationTtlS: number;
  /** Infinity for the root token. */
  readonly expiresAtMs: number;
  readonly renewedAtMs: number | undefined;
}

/** A token with what Vault says about the life it got. */
export interface Granted {
  readonly token: Token;
  readonly ttlS: number;
  readonly warnings: readonly string[];
}

const ROOT_SPEC: TokenSpec = {
  policies: ["root"],
  displayName: "token",
  path: "auth/token/create",
  meta: null,
  ttlS: 0,
  maxTtlS: 0,
  explicitMaxTtlS: 0,
  periodS: 0,
  renewable: false,
  entityId: "",
};

/** The tokens in force. Expired ones are forgotten when they are asked for. */
export class TokenStore {
  readonly #clock: Clock;
  readonly #byId = new Map<string, Token>();

  constructor(clock: Clock, rootToken: string) {
    this.#clock = clock;
    this.#put(ROOT_SPEC, { id: rootToken, creationTtlS: 0, expiresAtMs: Infinity });
  }

  create(spec: TokenSpec): Granted {
    const { ttlS, warnings } = cap(spec.periodS || spec.ttlS || SYSTEM_MAX_TTL_S, longestLife(spec));
    const id = `hvs.${randomBytes(24).toString("base64url")}`;
    const token = this.#put(spec, { id, creationTtlS: ttlS, expiresAtMs: this.#clock.now() + ttlS * 1000 });
    return { token, ttlS, warnings };
  }

  find(id: string): Token | undefined {
    const token = this.#byId.get(id);
    if (token && token.expiresAtMs <= this.#clock.now()) {
      this.revoke(token);
      return undefined;
    }
    return token;
  }

  /** Gives the token the life asked for, or its first one again, within what is left of its longest. */
  renew(token: Token, incrementS: number | undefined): Granted {
    if (!token.renewable) throw invalid("lease is not renewable");
    const nowMs = this.#clock.now();
    const leftS = longestLife(token) - Math.floor((nowMs - token.createdAtMs) / 1000);
    const wantedS = token.periodS || incrementS || token.ttlS || SYSTEM_MAX_TTL_S;
    const { ttlS, warnings } = cap(wantedS, token.periodS && !token.explicitMaxTtlS ? token.periodS : leftS);
    const renewed = { ...token, expiresAtMs: nowMs + ttlS * 1000, renewedAtMs: nowMs };
    this.#byId.set(token.id, renewed);
    return { token: renewed, ttlS, warnings };
  }

  /** Takes its children with it. */
  revoke(token: Token): void {
    this.#byId.delete(token.id);
    for (const other of this.#byId.values()) if (other.parent?.id === token.id) this.revoke(other);
  }

  /** Seconds left, 0 for a token without end. */
  ttlS(token: Token): number {
    return token.expiresAtMs === Infinity ? 0 : Math.floor((token.expiresAtMs - this.#clock.now()) / 1000);
  }

  #put(spec: TokenSpec, made: Pick<Token, "id" | "creationTtlS" | "expiresAtMs">): Token {
    const accessor = randomBytes(18).toString("base64url");
    const token: Token = { ...spec, ...made, accessor, createdAtMs: this.#clock.now(), renewedAtMs: undefined };
    this.#byId.set(token.id, token);
    return token;
  }
}

function longestLife({ maxTtlS, explicitMaxTtlS }: TokenSpec): number {
  return Math.min(SYSTEM_MAX_TTL_S, maxTtlS || Infinity, explicitMaxTtlS || Infinity);
}

function cap(wantedS: number, maxS: number): { ttlS: number; warnings: string[] } {
  if (wantedS <= maxS) return { ttlS: wantedS, warnings: [] };
  const [wanted, max] = [shortDuration(wantedS), shortDuration(maxS)];
  return {
    ttlS: maxS,
    warnings: [`TTL of "${wanted}" exceeded the effective max_ttl of "${max}"; TTL value is capped accordingly`],
  };
}

/** The `auth` part of an answer that hands out or renews a token. */
export function authOf(
  { token, ttlS }: Granted,
  orphan = token.parent === undefined,
): Readonly<Record<string, unknown>> {
  return {
    client_token: token.id,
    accessor: token.accessor,
    policies: token.policies,
    token_policies: token.policies,
    metadata: token.meta,
    lease_duration: ttlS,
    renewable: token.renewable,
    entity_id: token.entityId,
    token_type: "service",
    orphan,
    mfa_requirement: null,
    num_uses: 0,
  };
}
