import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MeshError } from "../../common/runtime/errors.ts";
import { Cluster } from "./cluster.ts";
import type { ClusterConfig } from "./options.ts";
import { SERVER, serverPod } from "./pods.ts";

/** Where the server of a pod has its admin socket. */
const ADMIN_SOCKET = "/run/mesh-relay/admin.sock";

/** In the server's image (deploy/images); joins its standard input and output to that socket. */
const COMMAND = ["node", "/app/meshctl.js", "admin", "stdio", "--admin-socket", ADMIN_SOCKET];

/** A way to the admin socket of a server in a cluster. Dispose it when done. */
export interface Tunnel extends AsyncDisposable {
  /** "unix:/path" to dial. */
  readonly address: string;
  /** Words for messages. */
  readonly peer: string;
  /** Why the last connection failed, if it did: the dialler only sees it end. */
  readonly fault: () => MeshError | undefined;
}

/**
 * Opens a socket, only for this user, of which every connection goes by the API server's exec to the admin socket of a
 * pod of the server. So the right to exec there is what it takes, and all that it takes. Throws what `serverPod` does.
 */
export async function openTunnel(config: ClusterConfig, signal: AbortSignal): Promise<Tunnel> {
  await using stack = new AsyncDisposableStack();
  const cluster = stack.use(new Cluster(config));
  const pod = await serverPod(cluster, signal);
  const stop = new AbortController();
  let fault: MeshError | undefined;
  const join = (socket: Socket): void => {
    const request = { namespace: cluster.namespace, pod, container: SERVER, command: COMMAND };
    cluster.client
      .exec({ ...request, stdin: socket, stdout: socket }, stop.signal)
      .catch((thrown: unknown) => (fault = MeshError.from(thrown)))
      .finally(() => socket.destroy());
  };
  const { server, address } = await listenPrivately(stack, join);
  stack.defer(() => stop.abort());
  stack.defer(() => void server.close());
  const resources = stack.move();
  return {
    address,
    peer: `management server ${cluster.namespace}/${pod} of ${cluster.title}`,
    fault: () => fault,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** A Unix socket in a directory that nobody else may enter. */
async function listenPrivately(
  stack: AsyncDisposableStack,
  onConnection: (socket: Socket) => void,
): Promise<{ readonly server: Server; readonly address: string }> {
  const directory = await mkdtemp(join(tmpdir(), "meshctl-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  server.listen(join(directory, "admin.sock"));
  await once(server, "listening");
  return { server, address: `unix:${join(directory, "admin.sock")}` };
}
