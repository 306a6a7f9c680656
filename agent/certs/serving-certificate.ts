import { isIP } from "node:net";
import { createRootCa, signCertificate, type Authority } from "../../common/pki/authority.ts";
import { toPem } from "../../common/pki/certificate.ts";
import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { ReloadableServerCredentials, type ServerTls } from "../../common/session/tls.ts";

const DAY_MS = 86_400_000;
const LEAF_DAYS = 30;
const CA_DAYS = 3650;
/** Renewed with this much of its life left, so that a laptop that slept through the day still serves. */
const RENEW_BEFORE_DAYS = 10;
/** Backdated against clocks that run behind. */
const BACKDATE_MS = 3_600_000;

const SERVICE = "enterprise-agent";
const EC = { type: "ec", curve: "P-256" } as const;

export interface ServingCertificateOptions {
  /** Makes the public CA bundle known, PEM: what istiod-agents verify this replica with. */
  readonly publish: (caPem: string, signal: AbortSignal) => Promise<void>;
  /** Of the Service by which istiod-agents reach the agent. */
  readonly namespace: string;
  /** Further DNS names and IP addresses to serve under. */
  readonly extraNames?: readonly string[];
  readonly clock: Clock;
}

/**
 * The TLS certificate of 9977, made in memory under a CA that is made in memory too: neither key ever touches a disk.
 * Each process has its own CA; istiod-agents read the bundle again when they meet a new one.
 */
export class ServingCertificate {
  readonly credentials: ReloadableServerCredentials;
  readonly #options: ServingCertificateOptions;
  readonly #authority: Authority;

  private constructor(options: ServingCertificateOptions, authority: Authority, tls: ServerTls) {
    this.#options = options;
    this.#authority = authority;
    this.credentials = new ReloadableServerCredentials(tls);
  }

  /** Makes CA and certificate, and publishes the bundle: once this resolves, a client can verify the listener. */
  static async create(options: ServingCertificateOptions, signal: AbortSignal): Promise<ServingCertificate> {
    const nowMs = options.clock.now();
    const key = await generateKey(EC);
    const certificate = await createRootCa({
      subject: { organization: "mesh-relay", commonName: "enterprise-agent serving CA" },
      key,
      pathLength: 0,
      notBeforeMs: nowMs - BACKDATE_MS,
      notAfterMs: nowMs + CA_DAYS * DAY_MS,
    });
    const authority = { certificate, key };
    const serving = new ServingCertificate(options, authority, await makeLeaf(options, authority));
    await options.publish(toPem([certificate]), signal);
    return serving;
  }

  /** Renews the certificate before it ends, until `signal` is aborted. Connections that are open go on. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      await clock.sleep((LEAF_DAYS - RENEW_BEFORE_DAYS) * DAY_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      this.credentials.replace(await makeLeaf(this.#options, this.#authority));
    }
  }
}

/** The Service in each form in which Kubernetes' DNS knows it, and loopback. */
const namesOf = (namespace: string): string[] => [
  SERVICE,
  ...["", ".svc", ".svc.cluster.local"].map((suffix) => `${SERVICE}.${namespace}${suffix}`),
  "localhost",
];

async function makeLeaf(options: ServingCertificateOptions, issuer: Authority): Promise<ServerTls> {
  const { extraNames = [], namespace, clock } = options;
  const nowMs = clock.now();
  const key = await generateKey(EC);
  const certificate = await signCertificate({
    issuer,
    subject: { commonName: SERVICE },
    publicKey: key,
    dnsSans: [...namesOf(namespace), ...extraNames.filter((name) => isIP(name) === 0)],
    ipSans: ["127.0.0.1", ...extraNames.filter((name) => isIP(name) !== 0)],
    extendedKeyUsages: ["serverAuth"],
    notBeforeMs: nowMs - BACKDATE_MS,
    notAfterMs: nowMs + LEAF_DAYS * DAY_MS,
  });
  return {
    keyPem: privateKeyToPem(key),
    certificatePem: toPem([certificate]),
    minVersion: "TLSv1.2",
  };
}
