import type { Random } from "../../common/runtime/clock.ts";
import type { MeshError } from "../../common/runtime/errors.ts";
import { Backoff } from "../../common/runtime/retry.ts";

const BACKOFF = { baseMs: 500, capMs: 60_000 };
/** For what an operator must mend: it is looked at again without haste, because he may mend it in Vault. */
const MEND_MS = 60_000;
/** Each further attempt has Vault sign a certificate that is thrown away. */
const SIGNED_IN_VAIN_MS = 300_000;

/** When to try again to obtain a CA. */
export class Retries {
  readonly #random: Random;
  readonly #backoff: Backoff;

  constructor(random: Random) {
    this.#random = random;
    this.#backoff = new Backoff({ ...BACKOFF, random });
  }

  /** Milliseconds to wait after this fault. Never gives up. */
  next(error: MeshError): number {
    if (error.code === "ca_unsound" || error.code === "ca_other_root") return this.#spread(SIGNED_IN_VAIN_MS);
    if (error.code === "install_failed") return this.#spread(MEND_MS);
    return error.retriable ? this.#backoff.next(error.retryAfterMs) : this.#spread(MEND_MS);
  }

  reset(): void {
    this.#backoff.reset();
  }

  /** A fleet that failed together does not come back together. */
  #spread(ms: number): number {
    return ms * (0.9 + 0.2 * this.#random());
  }
}
