import { isIP } from "node:net";
import { createRootCa, signCertificate, type Authority } from "../../common/pki/authority.ts";
import { toPem } from "../../common/pki/certificate.ts";
import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { ReloadableServerCredentials, type ServerTls } from "../../common/session/tls.ts";

const DAY_MS = 86_400_000;
const LEAF_DAYS = 30;
const CA_DAYS = 3650;
/** Renewed with this much of its life left, so that a laptop that slept through the day still serves. */
const RENEW_BEFORE_DAYS = 10;
/** Backdated against clocks that run behind. */
const BACKDATE_MS = 3_600_000;

/** Names under which istiod-agents reach the agent (the guide's Service and its forms), and loopback. */
const NAMES = ["enterprise-agent", "enterprise-agent.gloo-mesh", "enterprise-agent.gloo-mesh.svc", "localhost"];
const EC = { type: "ec", curve: "P-256" } as const;

export interface ServingCertificateOptions {
  /** File that takes the public CA bundle, mode 0644: what istiod-agents verify this agent with. */
  readonly caFile: string;
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
  static async create(options: ServingCertificateOptions): Promise<ServingCertificate> {
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
    await writeFileAtomic(options.caFile, toPem([certificate]), 0o644);
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

async function makeLeaf({ extraNames = [], clock }: ServingCertificateOptions, issuer: Authority): Promise<ServerTls> {
  const nowMs = clock.now();
  const key = await generateKey(EC);
  const certificate = await signCertificate({
    issuer,
    subject: { commonName: "enterprise-agent" },
    publicKey: key,
    dnsSans: [...NAMES, ...extraNames.filter((name) => isIP(name) === 0)],
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
