import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import { LoadedPki } from "../identity/loaded-pki.ts";
import type { RelayPki, RotationStage, ServerTlsCredentials } from "../identity/pki.ts";
import type { RelayCa, ServerNames } from "../identity/relay-ca.ts";
import { StoredCa } from "../identity/stored-ca.ts";

export interface LocalPkiOptions {
  readonly directory: Pick<StateDirectory, "document" | "file">;
  readonly names: ServerNames;
  readonly clock: Clock;
  readonly log: Log;
}

/** Share of the server certificate's life after which it is replaced. */
const RENEW_AT = 2 / 3;

/** The relay's CA in a state directory; the server's own certificate is made in memory at each start. */
export class LocalPki implements RelayPki {
  readonly #options: LocalPkiOptions;
  readonly #stored: StoredCa;
  readonly #loaded = new LoadedPki();
  #renewAtMs = 0;

  private constructor(options: LocalPkiOptions, stored: StoredCa) {
    this.#options = options;
    this.#stored = stored;
  }

  /** The first start makes the CA. Throws `state_corrupt` for a broken one. */
  static async open(options: LocalPkiOptions): Promise<LocalPki> {
    const pki = new LocalPki(options, await StoredCa.open(options.directory, options.clock));
    await pki.#serve();
    return pki;
  }

  get ca(): RelayCa {
    return this.#loaded;
  }

  get certificate(): ServerTlsCredentials {
    return this.#loaded.certificate;
  }

  get stage(): RotationStage {
    return this.#stored.stage;
  }

  opened(): Promise<void> {
    return Promise.resolve();
  }

  async advance(from: RotationStage): Promise<void> {
    await this.#stored.advance(from);
    await this.#serve();
  }

  /** Keeps both listeners on a certificate with life left, until `signal` is aborted; then it rejects with its reason. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    for (;;) {
      await clock.sleep(this.#renewAtMs - clock.now(), signal);
      // A rotation has made another one meanwhile.
      if (clock.now() < this.#renewAtMs) continue;
      const notAfterMs = await this.#serve();
      log.info("server certificate renewed", { notAfter: new Date(notAfterMs).toISOString() });
    }
  }

  /** Makes a certificate of the CA as it stands, and puts both in force; streams go on with what they began with. */
  async #serve(): Promise<number> {
    const { names, clock } = this.#options;
    const { ca } = this.#stored;
    const key = await generateKey({ type: "ec", curve: "P-256" });
    const { chainPem, notAfterMs } = await ca.signServer(key, names);
    const nowMs = clock.now();
    this.#renewAtMs = nowMs + (notAfterMs - nowMs) * RENEW_AT;
    this.#loaded.load({ ca, server: { keyPem: privateKeyToPem(key), certificatePem: chainPem } });
    return notAfterMs;
  }
}
