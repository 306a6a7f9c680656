import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer, type PeerCertificate, type TLSSocket } from "node:tls";
import type { Leaf } from "./leaf.ts";

/** Who each side took the other for, by the URI name in its certificate. */
export interface Handshake {
  readonly protocol: string;
  readonly clientSaw: string;
  readonly serverSaw: string;
}

/** One side of a connection: its certificate and the only root that it trusts. */
export interface Party {
  readonly leaf: Leaf;
  readonly rootPem: string;
}

const TIMEOUT_MS = 10_000;

/**
 * Connects `client` to `server` over mutual TLS on loopback: each verifies the other's certificate by its own root
 * file alone. Throws the fault of the side that refused.
 */
export async function handshake(client: Party, server: Party): Promise<Handshake> {
  const listener = createServer({ ...server.leaf, ca: server.rootPem, requestCert: true, rejectUnauthorized: true });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const accepted = new Promise<TLSSocket>((resolve, reject) => {
    listener.once("secureConnection", resolve);
    listener.once("tlsClientError", reject);
  });
  const socket = connect({
    ...client.leaf,
    ca: client.rootPem,
    port: (listener.address() as AddressInfo).port,
    host: "127.0.0.1",
    // Meshes verify the SPIFFE name, which the caller of this does; there is no host name to check.
    checkServerIdentity: () => undefined,
  });
  try {
    const secured = once(socket, "secureConnect", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const [peer] = await Promise.all([accepted, secured]);
    return {
      protocol: socket.getProtocol() ?? "",
      clientSaw: uriOf(socket.getPeerCertificate()),
      serverSaw: uriOf(peer.getPeerCertificate()),
    };
  } finally {
    socket.on("error", () => undefined).destroy();
    listener.close();
  }
}

const uriOf = ({ subjectaltname = "" }: PeerCertificate): string => subjectaltname.replace(/^URI:/, "");
