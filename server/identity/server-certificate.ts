import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import type { Log } from "../../common/runtime/log.ts";
import { type KeyAndChain, ReloadableServerCredentials, type ServerTls } from "../../common/session/tls.ts";
import type { ServerTlsCredentials } from "./pki.ts";
import type { ServerNames, SigningCa } from "./relay-ca.ts";

export interface ServerCertificateOptions {
  readonly ca: SigningCa;
  readonly names: ServerNames;
  readonly clock: Clock;
  readonly log: Log;
}

/** Share of the certificate's life after which it is replaced. */
const RENEW_AT = 2 / 3;

/** The server's TLS certificate: made in memory at each start, renewed while it runs, without dropping streams. */
export class ServerCertificate implements ServerTlsCredentials {
  readonly relay: ReloadableServerCredentials;
  readonly enrollment: ReloadableServerCredentials;
  readonly #options: ServerCertificateOptions;
  #renewAtMs: number;

  private constructor(options: ServerCertificateOptions, made: Made) {
    this.#options = options;
    this.#renewAtMs = made.renewAtMs;
    this.relay = new ReloadableServerCredentials(relayTls(made, options.ca));
    this.enrollment = new ReloadableServerCredentials(enrollmentTls(made));
  }

  static async create(options: ServerCertificateOptions): Promise<ServerCertificate> {
    return new ServerCertificate(options, await make(options));
  }

  /** Keeps both listeners on a certificate with life left, until `signal` is aborted; then it rejects with its reason. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, ca } = this.#options;
    for (;;) {
      await clock.sleep(this.#renewAtMs - clock.now(), signal);
      const made = await make(this.#options);
      this.#renewAtMs = made.renewAtMs;
      this.relay.replace(relayTls(made, ca));
      this.enrollment.replace(enrollmentTls(made));
      log.info("server certificate renewed", { notAfter: new Date(made.notAfterMs).toISOString() });
    }
  }
}

interface Made extends KeyAndChain {
  readonly notAfterMs: number;
  readonly renewAtMs: number;
}

async function make({ ca, names, clock }: ServerCertificateOptions): Promise<Made> {
  const key = await generateKey({ type: "ec", curve: "P-256" });
  const { chainPem, notAfterMs } = await ca.signServer(key, names);
  const nowMs = clock.now();
  const renewAtMs = nowMs + (notAfterMs - nowMs) * RENEW_AT;
  return { keyPem: privateKeyToPem(key), certificatePem: chainPem, notAfterMs, renewAtMs };
}

function enrollmentTls({ keyPem, certificatePem }: Made): ServerTls {
  return { keyPem, certificatePem, minVersion: "TLSv1.3" };
}

function relayTls(made: Made, ca: SigningCa): ServerTls {
  return { ...enrollmentTls(made), clientRootsPem: ca.trustBundlePem };
}
