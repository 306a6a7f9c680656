import { createHash, X509Certificate } from "node:crypto";
import { checkServerIdentity, createSecureContext, type PeerCertificate, type SecureContextOptions } from "node:tls";
import { ChannelCredentials, ServerCredentials } from "@grpc/grpc-js";
import { MeshError } from "../runtime/errors.ts";

/** A private key with its certificate and chain, all PEM. */
export interface KeyAndChain {
  readonly keyPem: string;
  /** Leaf first. */
  readonly certificatePem: string;
}

export type TlsVersion = "TLSv1.2" | "TLSv1.3";

export interface ServerTls extends KeyAndChain {
  /** PEM roots of client certificates; given: a client without a certificate of theirs is refused in the handshake. */
  readonly clientRootsPem?: string;
  readonly minVersion: TlsVersion;
}

/** Who has connected gets so long for the TLS handshake: it takes a round trip, and nobody is known before. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** Server credentials whose certificate can be replaced; live connections go on with the old one. */
export class ReloadableServerCredentials extends ServerCredentials {
  #certificatePem: string;

  constructor(tls: ServerTls) {
    const requestCert = tls.clientRootsPem !== undefined;
    super({ requestCert, rejectUnauthorized: true, handshakeTimeout: HANDSHAKE_TIMEOUT_MS }, contextOptions(tls));
    this.#certificatePem = tls.certificatePem;
  }

  /** End of the life of the certificate in force. */
  get notAfterMs(): number {
    return new X509Certificate(this.#certificatePem).validToDate.getTime();
  }

  /** Puts a new certificate (or new client roots) in force for connections to come. */
  replace(tls: ServerTls): void {
    this.updateSecureContextOptions(contextOptions(tls));
    this.#certificatePem = tls.certificatePem;
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

function contextOptions({ keyPem, certificatePem, clientRootsPem, minVersion }: ServerTls): SecureContextOptions {
  return { key: keyPem, cert: certificatePem, minVersion, ...(clientRootsPem ? { ca: clientRootsPem } : {}) };
}

/** Names PEM roots by their bytes: how server and agent tell whether they hold the same ones. SHA-256. */
export const bundleDigest = (rootsPem: string): Buffer => createHash("sha256").update(rootsPem).digest();

export interface ClientTls {
  /** PEM roots to verify the server with. */
  readonly rootsPem: string;
  /** Client certificate, where the server wants one. */
  readonly identity?: KeyAndChain;
  readonly minVersion: TlsVersion;
}

/** Credentials that verify the server's certificate for `name`, whatever is dialled. */
export function clientCredentials({ rootsPem, identity, minVersion }: ClientTls, name: string): ChannelCredentials {
  const context = createSecureContext({
    ca: rootsPem,
    minVersion,
    ...(identity ? { key: identity.keyPem, cert: identity.certificatePem } : {}),
  });
  return ChannelCredentials.createFromSecureContext(context, {
    // Said, so that NODE_TLS_REJECT_UNAUTHORIZED in somebody's environment changes nothing.
    rejectUnauthorized: true,
    checkServerIdentity: (_: string, certificate: PeerCertificate) => checkServerIdentity(name, certificate),
  });
}

/** For Unix sockets and loopback listeners that serve without TLS. */
export const plaintextCredentials = (): ChannelCredentials => ChannelCredentials.createInsecure();

/**
 * Names of the relay's identities, as URI subject alternative names of client certificates:
 * "spiffe://mesh-relay/cluster/NAME" for an agent, "spiffe://mesh-relay/operator/NAME" for a person.
 */
export type Identity =
  { readonly kind: "cluster"; readonly name: string } | { readonly kind: "operator"; readonly name: string };

const IDENTITY_URI = /^URI:spiffe:\/\/mesh-relay\/(cluster|operator)\/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$/;

export const identityUri = ({ kind, name }: Identity): string => `spiffe://mesh-relay/${kind}/${name}`;

export interface PeerIdentity {
  readonly identity: Identity;
  /** Serial number, upper-case hex as node:crypto prints it. */
  readonly serial: string;
  /** SHA-256 of the DER form, lower-case hex. */
  readonly fingerprint: string;
  /** Milliseconds since the epoch. */
  readonly notAfterMs: number;
}

/**
 * Reads the identity of a verified peer certificate. Exactly one URI name, and no other form of identity, is accepted:
 * a certificate with two names is refused rather than read one way.
 */
export function readPeerIdentity(der: Buffer | undefined): PeerIdentity {
  const { certificate, names } = namesOf(der);
  const uris = names.filter((name) => name.startsWith("URI:"));
  const match = IDENTITY_URI.exec(uris[0] ?? "");
  if (uris.length !== 1 || !match?.[2]) {
    throw new MeshError(
      "unauthenticated",
      `the client certificate must name one relay identity, it names ${uris.length}`,
    );
  }
  return peerOf(certificate, { kind: match[1] === "cluster" ? "cluster" : "operator", name: match[2] });
}

/**
 * Reads the cluster of a verified certificate that somebody else's CA made: its one name, as a DNS name (the reference's
 * form) or as the relay's URI. Whatever else it names, it is refused rather than read one way.
 */
export function readNamedIdentity(der: Buffer | undefined): PeerIdentity {
  const { certificate, names } = namesOf(der);
  const found = names.filter((name) => name.startsWith("URI:") || name.startsWith("DNS:"));
  const [name = ""] = found;
  const cluster = CLUSTER_DNS.exec(name)?.[1] ?? CLUSTER_URI.exec(name)?.[1];
  if (found.length === 1 && cluster) return peerOf(certificate, { kind: "cluster", name: cluster });
  throw new MeshError(
    "unauthenticated",
    `the client certificate must name one cluster, as its one dns name; it has ${found.length} names`,
  );
}

const CLUSTER_DNS = /^DNS:([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$/;
const CLUSTER_URI = /^URI:spiffe:\/\/mesh-relay\/cluster\/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$/;

function namesOf(der: Buffer | undefined): { certificate: X509Certificate; names: string[] } {
  if (!der) throw new MeshError("unauthenticated", "no client certificate was shown");
  const certificate = new X509Certificate(der);
  return { certificate, names: (certificate.subjectAltName ?? "").split(", ") };
}

function peerOf(certificate: X509Certificate, identity: Identity): PeerIdentity {
  return {
    identity,
    serial: certificate.serialNumber,
    fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
    notAfterMs: certificate.validToDate.getTime(),
  };
}
