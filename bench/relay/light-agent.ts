import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import { MeshError } from "../../common/runtime/errors.ts";
import { parseHostPort } from "../../common/runtime/settings.ts";
import { ISSUED_CERTIFICATE, versionOf } from "../../common/session/resource-set.ts";
import type { KeyAndChain } from "../../common/session/tls.ts";
import {
  ConnectRequest,
  ConnectResponse,
  ResourceOutcome,
  type Push,
  type Result,
} from "../../proto/gen/relay/v1/relay.ts";
import {
  encodeFrame,
  FLAG_ACK,
  FLAG_END,
  FRAME,
  type Frame,
  FrameReader,
  messageFrame,
  MessageReader,
  openCall,
  WINDOW_BYTES,
  windowUpdate,
} from "./frames.ts";

const PATH = "/relay.v1.RelayService/Connect";
/** More room is asked for when so much was read: less often than for each message, and long before there is none. */
const UPDATE_BYTES = WINDOW_BYTES / 2;

export interface LightAgentOptions {
  readonly address: string;
  readonly rootsPem: string;
  readonly identity: KeyAndChain;
  /** Called after each result that was sent. */
  readonly onResult: () => void;
  /** Called when the session is over and nobody asked for it. */
  readonly onLost: (error: MeshError) => void;
}

/** What an agent was sent while it did not answer. */
export interface Unanswered {
  readonly messages: number;
  readonly bytes: number;
}

/**
 * One agent as a server sees it: TLS 1.3 with a certificate of its own, one connection, one stream, a proper result for each
 * push. It holds what it is sent in memory, checks that pushes come in order, and can stop reading.
 */
export class LightAgent {
  readonly #options: LightAgentOptions;
  readonly #socket: TLSSocket;
  readonly #frames = new FrameReader();
  readonly #messages = new MessageReader();
  /** What came while the agent does not read; undefined while it does. */
  #unread: Buffer[] | undefined;
  #isWindowOpen = true;
  #readBytes = 0;
  #lastId = 0n;
  #isLeaving = false;
  /** Version (hex) of the one resource that it holds. */
  heldVersion = "";
  pushes = 0;

  private constructor(options: LightAgentOptions, socket: TLSSocket) {
    this.#options = options;
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#frames.read(chunk).forEach((frame) => this.#take(frame)));
    socket.on("error", (error) => this.#lost(error));
    socket.on("close", () => this.#lost());
  }

  /** Connects and says hello. Rejects when there is no handshake. */
  static async open(options: LightAgentOptions): Promise<LightAgent> {
    const { address, rootsPem, identity } = options;
    const { host = "", port = 0 } = parseHostPort(address) ?? {};
    const socket = connect({
      ...{ host, port, servername: "localhost", ALPNProtocols: ["h2"], minVersion: "TLSv1.3" },
      ...{ ca: rootsPem, key: identity.keyPem, cert: identity.certificatePem },
    });
    socket.setNoDelay(true);
    await once(socket, "secureConnect");
    const agent = new LightAgent(options, socket);
    socket.write(openCall(PATH));
    agent.#send({ $case: "hello", value: HELLO });
    return agent;
  }

  heartbeat(): void {
    this.#send({ $case: "heartbeat", value: { time: new Date() } });
  }

  /** From now on messages are left unread: none is answered, and no room is made for more. */
  stall(): void {
    this.#unread = [];
    this.#isWindowOpen = false;
  }

  /** Makes room for whatever the server has in store, and still reads none of it. */
  openWindow(): void {
    this.#isWindowOpen = true;
    this.#makeRoom();
  }

  /** What came since `stall`. */
  get unanswered(): Unanswered {
    const unread = this.#unread ?? [];
    return { messages: unread.length, bytes: unread.reduce((sum, { length }) => sum + length, 0) };
  }

  /** Reads again, first what came meanwhile. */
  resume(): void {
    const unread = this.#unread ?? [];
    this.#unread = undefined;
    this.openWindow();
    for (const message of unread) this.#read(message);
  }

  leave(): void {
    this.#isLeaving = true;
    this.#socket.destroy();
  }

  #take({ type, flags, stream, payload }: Frame): void {
    if (type === FRAME.settings && flags !== FLAG_ACK) this.#answer(FRAME.settings, Buffer.alloc(0));
    if (type === FRAME.ping && flags !== FLAG_ACK) this.#answer(FRAME.ping, payload);
    if (type === FRAME.data) this.#data(payload);
    const isOver = type === FRAME.reset || type === FRAME.goAway || (stream === 1 && (flags & FLAG_END) !== 0);
    if (isOver) this.#lost();
  }

  #data(payload: Buffer): void {
    this.#readBytes += payload.length;
    if (this.#isWindowOpen && this.#readBytes > UPDATE_BYTES) this.#makeRoom();
    for (const message of this.#messages.read(payload)) {
      if (this.#unread) this.#unread.push(message);
      else this.#read(message);
    }
  }

  #makeRoom(): void {
    if (this.#readBytes === 0) return;
    this.#socket.write(Buffer.concat([windowUpdate(0, this.#readBytes), windowUpdate(1, this.#readBytes)]));
    this.#readBytes = 0;
  }

  #read(bytes: Buffer): void {
    const { message } = ConnectResponse.decode(bytes);
    if (message?.$case === "drain") this.#lost();
    if (message?.$case !== "push") return;
    const { id, upserts } = message.value;
    if (id <= this.#lastId) this.#lost(new MeshError("internal", `push ${id} came after push ${this.#lastId}`));
    this.#lastId = id;
    this.pushes += 1;
    this.heldVersion = versionOf(upserts.at(-1)?.content ?? Buffer.alloc(0));
    this.#send({ $case: "result", value: resultOf(message.value, this.heldVersion) });
    this.#options.onResult();
  }

  #send(message: NonNullable<ConnectRequest["message"]>): void {
    this.#socket.write(messageFrame(ConnectRequest.encode({ message }).finish()));
  }

  #answer(type: number, payload: Buffer): void {
    this.#socket.write(encodeFrame({ type, flags: FLAG_ACK, stream: 0, payload }));
  }

  #lost(cause?: unknown): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#options.onLost(
      new MeshError("unavailable", "the server ended a session", cause === undefined ? {} : { cause }),
    );
    this.#socket.destroy();
  }
}

const HELLO = {
  agentVersion: "bench",
  instanceId: "bench",
  capabilities: [],
  held: [{ type: ISSUED_CERTIFICATE, digest: Buffer.alloc(0) }],
};

function resultOf({ type, id, digest, upserts }: Push, heldVersion: string): Result {
  const results = upserts.map(({ name }) => ({
    name,
    outcome: ResourceOutcome.RESOURCE_OUTCOME_APPLIED,
    code: "",
    message: "",
    retriable: false,
    heldVersion: Buffer.from(heldVersion, "hex"),
  }));
  return { type, id, held: digest, wantWholeSet: false, results };
}
