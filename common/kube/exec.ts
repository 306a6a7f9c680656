import { once } from "node:events";
import { PassThrough, type Readable, type Writable } from "node:stream";
import { Exec, type KubeConfig, type V1Status } from "@kubernetes/client-node";
import { MeshError } from "../runtime/errors.ts";
import { connectionError, refusalError } from "./errors.ts";

/** A command to run in a container. */
export interface ExecRequest {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly command: readonly string[];
  readonly stdin: Readable;
  /** Is ended when the command has ended. */
  readonly stdout: Writable;
}

/** Of what a command says on standard error, as much as a message can hold. */
const MAX_ERROR_BYTES = 4096;

type Socket = Awaited<ReturnType<Exec["exec"]>>;

/**
 * Runs a command as `kubectl exec` does, without a terminal. Resolves when it ended with 0, and when `signal` is aborted,
 * which ends the connection. Throws `failed_precondition` with its standard error when it ended otherwise, what
 * `refusalError` makes of the API server's "no", and `unavailable` when the connection broke before.
 */
export async function execInPod(config: KubeConfig, request: ExecRequest, signal: AbortSignal): Promise<void> {
  const isStopped = (): boolean => signal.aborted;
  if (isStopped()) return;
  const { namespace, pod, container, command, stdin, stdout } = request;
  const what = `exec in pod ${namespace}/${pod}`;
  const said = collector();
  const ended = Promise.withResolvers<V1Status>();
  const socket = await new Exec(config)
    .exec(namespace, pod, container, [...command], stdout, said.stream, stdin, false, ended.resolve)
    .catch((thrown: unknown) => {
      throw handshakeError(what, thrown);
    });
  const close = (): void => socket.terminate();
  signal.addEventListener("abort", close, { once: true });
  if (isStopped()) close();
  try {
    const status = await Promise.race([ended.promise, closed(socket)]);
    if (isStopped() || status?.status === "Success") return;
    if (!status) throw new MeshError("unavailable", `the connection broke to ${what}`);
    throw new MeshError("failed_precondition", `${what}: ${said.text() || (status.message ?? "the command failed")}`);
  } finally {
    signal.removeEventListener("abort", close);
    socket.close();
    stdout.end();
  }
}

async function closed(socket: Socket): Promise<undefined> {
  await once(socket, "close");
  return undefined;
}

function collector(): { readonly stream: Writable; readonly text: () => string } {
  const stream = new PassThrough();
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on("data", (chunk: Buffer) => {
    if (bytes < MAX_ERROR_BYTES) chunks.push(chunk);
    bytes += chunk.length;
  });
  return { stream, text: () => Buffer.concat(chunks).subarray(0, MAX_ERROR_BYTES).toString("utf8").trim() };
}

/** The WebSocket library says only "Unexpected server response: 403", and wraps it into an event. */
function handshakeError(what: string, thrown: unknown): MeshError {
  const { error, message = "" } = (thrown ?? {}) as { readonly error?: unknown; readonly message?: string };
  const [, httpStatus] = /Unexpected server response: (\d{3})/.exec(message) ?? [];
  return httpStatus === undefined ? connectionError(what, error ?? thrown) : refusalError(what, Number(httpStatus), {});
}
