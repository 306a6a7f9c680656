import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { KeyAndChain } from "../../../common/session/tls.ts";
import { parseHostPort } from "../../../common/runtime/settings.ts";
import { ConnectRequest } from "../../../proto/gen/relay/v1/relay.ts";

/** A connection to "host:port" or "unix:/path" that swallows its errors. */
export function tcp(address: string): Socket {
  const { host = "", port = 0 } = parseHostPort(address) ?? {};
  const target = address.startsWith("unix:") ? { path: address.slice(5) } : { host, port };
  return connectTcp(target).on("error", () => undefined);
}

/** Sends bytes and waits until the other side is done with this connection, or half a second. */
export async function throwAt(address: string, bytes: Buffer): Promise<void> {
  const socket = tcp(address);
  socket.setTimeout(500, () => socket.destroy());
  socket.resume().end(bytes);
  await closing(socket);
}

/** Resolves when it is closed, however. */
const closing = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once("close", () => resolve()));

/** TLS version that a listener agrees to when at most `maxVersion` is offered; throws when it does not. */
export async function handshake(address: string, maxVersion: "TLSv1.2" | "TLSv1.3", identity?: KeyAndChain) {
  const { host = "", port = 0 } = parseHostPort(address) ?? {};
  const shown = identity ? { key: identity.keyPem, cert: identity.certificatePem } : {};
  const socket = connectTls({ host, port, maxVersion, rejectUnauthorized: false, ALPNProtocols: ["h2"], ...shown });
  try {
    await once(socket, "secureConnect");
    return socket.getProtocol();
  } finally {
    socket.destroy();
  }
}

/** The same over TLS, for two seconds at most. */
export async function throwOverTls(address: string, bytes: Buffer): Promise<void> {
  const { host = "", port = 0 } = parseHostPort(address) ?? {};
  const socket = connectTls({ host, port, rejectUnauthorized: false, ALPNProtocols: ["h2"] });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  socket.setTimeout(2_000, () => socket.destroy());
  const closed = closing(socket);
  setTimeout(() => socket.destroy(), 2_000).unref();
  socket.resume().write(bytes);
  await closed;
}

/** HTTP/2 by hand, with the identity where one is given. */
export async function http2(
  address: string,
  { identity, initialWindowSize = 65_535 }: { identity?: KeyAndChain; initialWindowSize?: number } = {},
): Promise<ClientHttp2Session> {
  const shown = identity ? { key: identity.keyPem, cert: identity.certificatePem } : {};
  const options = { rejectUnauthorized: false, settings: { initialWindowSize }, ...shown };
  const session = connectHttp2(`https://${address}`, options).on("error", () => undefined);
  await once(session, "connect");
  return session;
}

/** Floods a listener over one HTTP/2 connection; the listener may end it. */
export async function flood(address: string, attack: (session: ClientHttp2Session) => void): Promise<void> {
  const session = await http2(address);
  attack(session);
  const closed = once(session, "close");
  session.setTimeout(2_000, () => session.destroy());
  setTimeout(() => session.destroy(), 2_000).unref();
  await closed;
}

/** Opens a call; what is written to it are frames, see `framed`. */
export function openCall(session: ClientHttp2Session, path: string): ClientHttp2Stream {
  const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" };
  return session.request(headers).on("error", () => undefined);
}

/** Messages of an agent as they are on the wire. */
export function framed(...messages: readonly NonNullable<ConnectRequest["message"]>[]): Buffer {
  const frames = messages.map((message) => {
    const bytes = ConnectRequest.encode({ message }).finish();
    const head = Buffer.alloc(5);
    head.writeUInt32BE(bytes.length, 1);
    return Buffer.concat([head, bytes]);
  });
  return Buffer.concat(frames);
}
