import { type KeyObject, X509Certificate } from "node:crypto";
import { type Authority, signCertificate } from "../../common/pki/authority.ts";
import { type Certificate, certificateFacts, toPem } from "../../common/pki/certificate.ts";
import { publicKeyHash } from "../../common/pki/keys.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { type Identity, identityUri } from "../../common/session/tls.ts";

const DAY_MS = 86_400_000;
/** Clocks of clusters run behind ours. */
export const BACKDATE_MS = 5 * 60_000;

export const SERVER_LIFE_MS = 30 * DAY_MS;
export const CLUSTER_LIFE_MS = 30 * DAY_MS;
export const OPERATOR_LIFE_MS = DAY_MS;

/** Names of the management server in its certificate. */
export interface ServerNames {
  readonly dns: readonly string[];
  readonly ip: readonly string[];
}

/** What a server is called where nobody says otherwise: this machine, and the names of the reference's Service. */
export const DEFAULT_SERVER_NAMES: ServerNames = {
  dns: [
    "localhost",
    "enterprise-networking",
    "enterprise-networking.gloo-mesh",
    "enterprise-networking.gloo-mesh.svc",
    "enterprise-networking.gloo-mesh.svc.cluster.local",
  ],
  ip: ["127.0.0.1", "::1"],
};

/** A certificate with its chain up to and with the root, PEM, leaf first. */
export interface SignedIdentity {
  readonly certificate: Certificate;
  readonly chainPem: string;
  readonly notAfterMs: number;
  /** PEM roots that were in force when it was signed: its holder gets both together. */
  readonly trustBundlePem: string;
}

/** Who vouches for the server, its agents and its operators. */
export interface RelayCa {
  /** What is trusted; first the root that new certificates end in. */
  readonly roots: readonly Certificate[];
  /** PEM roots that agents and operators verify the server with. */
  readonly trustBundlePem: string;
  /** Of the root that new certificates end in; see `pinOf`. */
  readonly trustPin: string;
  /** Signs a client certificate for a cluster or an operator. The identity is the URI name; the common name means nothing. */
  signClient(publicKey: KeyObject, identity: Identity): Promise<SignedIdentity>;
  /** Whether it signed this certificate itself; another CA below the same root does not count. */
  hasSigned(certificateDer: Buffer): boolean;
}

/** "sha256:" and the hex SHA-256 of the certificate's SubjectPublicKeyInfo. */
export const pinOf = ({ x509 }: Certificate): string => `sha256:${publicKeyHash(x509.publicKey)}`;

/** What a certificate authority is made of. */
export interface SigningChain {
  /** Signs. */
  readonly issuer: Authority;
  /** Its issuers, the nearest first, up to and with the root; empty when it is the root itself. */
  readonly above: readonly Certificate[];
  /** Roots to trust beside its own. */
  readonly alsoTrusted?: readonly Certificate[];
}

/** The relay's own certificate authority. Its key leaves the process for its home alone. */
export class SigningCa implements RelayCa {
  readonly roots: readonly Certificate[];
  readonly trustBundlePem: string;
  readonly trustPin: string;
  readonly #issuer: Authority;
  readonly #above: readonly Certificate[];
  readonly #clock: Clock;

  constructor({ issuer, above, alsoTrusted = [] }: SigningChain, clock: Clock) {
    const root = above.at(-1) ?? issuer.certificate;
    const others = alsoTrusted.filter(({ x509 }) => !x509.raw.equals(root.x509.raw));
    this.#issuer = issuer;
    this.#above = above;
    this.#clock = clock;
    this.roots = [root, ...others];
    this.trustBundlePem = toPem(this.roots);
    this.trustPin = pinOf(root);
  }

  /** Signs the server's own certificate. The root stands in the chain, so that an agent can compare its pin. */
  async signServer(publicKey: KeyObject, names: ServerNames): Promise<SignedIdentity> {
    return this.#sign(SERVER_LIFE_MS, {
      publicKey,
      subject: { commonName: names.dns[0] ?? "enterprise-networking" },
      dnsSans: names.dns,
      ipSans: names.ip,
      extendedKeyUsages: ["serverAuth"],
    });
  }

  async signClient(publicKey: KeyObject, identity: Identity): Promise<SignedIdentity> {
    return this.#sign(identity.kind === "cluster" ? CLUSTER_LIFE_MS : OPERATOR_LIFE_MS, {
      publicKey,
      subject: { commonName: identity.name },
      uriSans: [identityUri(identity)],
      // The reference's agents carried the cluster as a DNS name.
      dnsSans: identity.kind === "cluster" ? [identity.name] : [],
      extendedKeyUsages: ["clientAuth"],
    });
  }

  hasSigned(certificateDer: Buffer): boolean {
    const shown = new X509Certificate(certificateDer);
    const { x509 } = this.#issuer.certificate;
    return shown.checkIssued(x509) && shown.verify(x509.publicKey);
  }

  async #sign(
    lifeMs: number,
    request: Omit<Parameters<typeof signCertificate>[0], "issuer" | "notBeforeMs" | "notAfterMs">,
  ): Promise<SignedIdentity> {
    const nowMs = this.#clock.now();
    const issuerEndMs = certificateFacts(this.#issuer.certificate).notAfterMs;
    const certificate = await signCertificate({
      ...request,
      issuer: this.#issuer,
      notBeforeMs: nowMs - BACKDATE_MS,
      notAfterMs: Math.min(nowMs + lifeMs, issuerEndMs),
    });
    return {
      certificate,
      chainPem: toPem([certificate, this.#issuer.certificate, ...this.#above]),
      notAfterMs: certificateFacts(certificate).notAfterMs,
      trustBundlePem: this.trustBundlePem,
    };
  }
}
