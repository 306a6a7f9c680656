import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { request } from "node:https";
import type { AddressInfo } from "node:net";
import { readFile } from "node:fs/promises";
import type { Duplex } from "node:stream";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import type { ApiServer } from "./api-server.ts";
import { temporaryFolder } from "./folder.ts";

/** What was asked to be run in a pod. */
export interface ExecCall {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly command: readonly string[];
}

/** An API server that runs the commands of pods here. */
export interface ExecProxy extends AsyncDisposable {
  /** Of the same administrator; its contexts are those of `contexts`. */
  readonly kubeconfig: string;
  readonly calls: readonly ExecCall[];
}

/**
 * Stands before API servers, one context each, and passes everything on but exec: where no kubelet runs, `commandFor` says
 * what is run on this machine instead, and no answer is Forbidden. Speaks v5.channel.k8s.io, as API servers do.
 */
export async function startExecProxy(
  contexts: Readonly<Record<string, ApiServer>>,
  commandFor: (call: ExecCall) => readonly string[] | undefined,
): Promise<ExecProxy> {
  await using stack = new AsyncDisposableStack();
  const calls: ExecCall[] = [];
  const urls: Record<string, string> = {};
  for (const [name, api] of Object.entries(contexts)) {
    const server = createServer(await passTo(api));
    const sockets = new Set<Duplex>();
    server.on("connection", (socket) => sockets.add(socket));
    server.on("upgrade", (message, socket) => {
      const call = callOf(message);
      const command = commandFor(call);
      calls.push(call);
      if (command) run(command, message, socket);
      else socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    urls[name] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    stack.defer(async () => {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    });
  }
  const folder = stack.use(await temporaryFolder());
  const kubeconfig = folder.file("kubeconfig");
  await writeFileAtomic(kubeconfig, JSON.stringify(kubeconfigOf(contexts, urls)));
  const resources = stack.move();
  return { kubeconfig, calls, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

function kubeconfigOf(contexts: Readonly<Record<string, ApiServer>>, urls: Readonly<Record<string, string>>): object {
  const names = Object.keys(contexts);
  return {
    clusters: names.map((name) => ({ name, cluster: { server: urls[name], "insecure-skip-tls-verify": true } })),
    users: names.map((name) => ({ name, user: { token: contexts[name]?.adminToken } })),
    contexts: names.map((name) => ({ name, context: { cluster: name, user: name } })),
    "current-context": names[0],
  };
}

async function passTo(api: ApiServer): Promise<Parameters<typeof createServer>[1] & object> {
  const ca = await readFile(api.caFile);
  return (message, response) => {
    const url = new URL(message.url ?? "/", api.url);
    // The library sends no token over plain HTTP that it was not given; the header is passed on as it came.
    const onward = request(url, { method: message.method, headers: { ...message.headers, host: url.host }, ca });
    onward.on("response", (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    message.pipe(onward);
  };
}

function callOf({ url = "" }: IncomingMessage): ExecCall {
  const { pathname, searchParams } = new URL(url, "http://api");
  const [, namespace = "", pod = ""] = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)\/exec$/.exec(pathname) ?? [];
  return { namespace, pod, container: searchParams.get("container") ?? "", command: searchParams.getAll("command") };
}

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const STATUS = 3;
const CLOSE = 255;

function run([program = "", ...args]: readonly string[], { headers }: IncomingMessage, socket: Duplex): void {
  const accept = createHash("sha1")
    .update(`${headers["sec-websocket-key"] ?? ""}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  const head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"];
  socket.write(
    [...head, `Sec-WebSocket-Accept: ${accept}`, "Sec-WebSocket-Protocol: v5.channel.k8s.io", "", ""].join("\r\n"),
  );
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  const send = (channel: number, data: Buffer): void => void socket.write(frame(Buffer.from([channel]), data));
  child.stdin.on("error", () => undefined);
  child.stdout.on("data", (data: Buffer) => send(STDOUT, data));
  child.stderr.on("data", (data: Buffer) => send(STDERR, data));
  child.once("error", () => socket.destroy());
  child.once("close", (code) => {
    const status = code === 0 ? { status: "Success" } : { status: "Failure", message: `exit code ${code ?? -1}` };
    send(STATUS, Buffer.from(JSON.stringify(status)));
  });
  socket.on("error", () => undefined);
  socket.once("close", () => child.stdin.end());
  readFrames(socket, (payload) => {
    if (payload[0] === STDIN) child.stdin.write(payload.subarray(1));
    else if (payload[0] === CLOSE) child.stdin.end();
  });
}

/** One unfragmented binary message of a server. */
function frame(...parts: readonly Buffer[]): Buffer {
  const payload = Buffer.concat(parts);
  const head = Buffer.alloc(10);
  head[0] = 0x82;
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, payload]);
}

/** Messages of a client, which are masked and, as the library sends them, whole. Others than binary ones are dropped. */
function readFrames(socket: Duplex, onMessage: (payload: Buffer) => void): void {
  let rest = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    for (let next = nextFrame(rest); next; next = nextFrame(rest)) {
      rest = rest.subarray(next.length);
      if (next.opcode === 2) onMessage(next.payload);
      else if (next.opcode === 8) socket.end();
    }
  });
}

function nextFrame(data: Buffer) {
  if (data.length < 2) return undefined;
  const short = (data[1] ?? 0) & 0x7f;
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
  const start = 2 + lengthBytes + 4;
  if (data.length < start) return undefined;
  const size = lengthBytes === 0 ? short : data.readUIntBE(lengthBytes === 8 ? 4 : 2, lengthBytes === 8 ? 6 : 2);
  if (data.length < start + size) return undefined;
  const mask = data.subarray(start - 4, start);
  const payload = Buffer.from(data.subarray(start, start + size).map((byte, index) => byte ^ (mask[index % 4] ?? 0)));
  return { opcode: (data[0] ?? 0) & 0x0f, payload, length: start + size };
}
