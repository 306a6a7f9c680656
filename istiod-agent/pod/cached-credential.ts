import type { Clock } from "../../common/runtime/clock.ts";
import type { RenewableCredential } from "./credential.ts";

/** What was fetched, and how long it is good for: Infinity for what ends only when it is refused. */
export interface Fetched {
  readonly text: string;
  readonly lifeMs: number;
}

export interface CachedCredentialOptions {
  readonly name: string;
  readonly fetch: (signal: AbortSignal) => Promise<Fetched>;
  readonly clock: Clock;
}

/** Early, so that an API server that is away for a while cuts nobody off. */
const RENEW_AT = 0.5;
/** One that ends within this is not shown any more. */
const LEAST_LIFE_MS = 10_000;

/**
 * A credential that costs a request: kept for half of its life, so that somebody who tries again every second asks for
 * one and not for thousands. One whose successor is not to be had now is used up to its end.
 */
export class CachedCredential implements RenewableCredential {
  readonly name: string;
  readonly #options: CachedCredentialOptions;
  #held: { readonly text: string; readonly renewAtMs: number; readonly endsAtMs: number } | undefined;

  constructor(options: CachedCredentialOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Throws what `fetch` throws when there is nothing to go on with. */
  async read(signal: AbortSignal): Promise<string> {
    const { fetch, clock } = this.#options;
    const nowMs = clock.now();
    const held = this.#held;
    if (held && nowMs < held.renewAtMs) return held.text;
    try {
      const { text, lifeMs } = await fetch(signal);
      this.#held = { text, renewAtMs: nowMs + lifeMs * RENEW_AT, endsAtMs: nowMs + lifeMs };
      return text;
    } catch (error) {
      signal.throwIfAborted();
      if (held && clock.now() < held.endsAtMs - LEAST_LIFE_MS) return held.text;
      throw error;
    }
  }

  forget(): void {
    this.#held = undefined;
  }
}
