import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, type DetailedPeerCertificate } from "node:tls";
import { isSelfSigned } from "../../common/pki/chain.ts";
import { type Certificate, parseCertificate, toPem } from "../../common/pki/certificate.ts";
import { publicKeyHash } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { parseHostPort } from "../../common/runtime/settings.ts";

const HANDSHAKE_TIMEOUT_MS = 10_000;

/**
 * Fetches the root with the public key `pin` ("sha256:" and hex) from the chain that the server at `address` shows, as
 * PEM. Nothing is sent to the server: whether it owns the chain is verified on the connection made afterwards.
 * Throws `unauthenticated` when no such root is shown.
 */
export async function fetchPinnedRoot(address: string, pin: string, signal: AbortSignal): Promise<string> {
  const chain = await readChain(address, signal);
  const root = chain.find((each) => `sha256:${publicKeyHash(each.x509.publicKey)}` === pin && isSelfSigned(each));
  if (root) return toPem([root]);
  const shown = chain.at(-1);
  throw new MeshError(
    "unauthenticated",
    `server ${address}: its root is ${shown ? `sha256:${publicKeyHash(shown.x509.publicKey)}` : "not shown"}, want ${pin}`,
    { hint: "compare --relay-trust-pin with what meshctl cluster register prints; somebody may stand in between" },
  );
}

async function readChain(address: string, signal: AbortSignal): Promise<Certificate[]> {
  const target = parseHostPort(address);
  if (!target) throw new MeshError("invalid_argument", `${address} is not host:port`);
  const socket = connect({ ...target, minVersion: "TLSv1.3", ALPNProtocols: ["h2"], rejectUnauthorized: false });
  try {
    await once(socket, "secureConnect", {
      signal: AbortSignal.any([signal, AbortSignal.timeout(HANDSHAKE_TIMEOUT_MS)]),
    });
    return walk(socket.getPeerCertificate(true));
  } catch (cause) {
    signal.throwIfAborted();
    throw new MeshError("unavailable", `server ${address}: ${MeshError.from(cause).message}`, { cause });
  } finally {
    socket.destroy();
  }
}

/** Node links each certificate to its issuer, a root to itself, and one whose issuer was not shown to nothing. */
function walk(leaf: DetailedPeerCertificate): Certificate[] {
  const seen = new Map<string, Certificate>();
  let next: Partial<DetailedPeerCertificate> | undefined = leaf;
  while (next?.raw && next.fingerprint256 !== undefined && !seen.has(next.fingerprint256)) {
    seen.set(next.fingerprint256, parseCertificate(new X509Certificate(next.raw).toString()));
    next = next.issuerCertificate;
  }
  return [...seen.values()];
}
