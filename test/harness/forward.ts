import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface PortForward extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
}

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** Passes TCP connections made to `from` on to `to`. Disposing cuts those that stand. Rejects as `listen` does. */
export async function forwardPort(from: HostAndPort, to: HostAndPort): Promise<PortForward> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => socket.destroy());
  };
  const server = createServer((inbound) => {
    const outbound = connect(to);
    keep(inbound);
    keep(outbound);
    inbound.pipe(outbound).pipe(inbound);
    inbound.once("close", () => outbound.destroy());
    outbound.once("close", () => inbound.destroy());
  });
  server.listen(from);
  await once(server, "listening");
  return {
    ...from,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
