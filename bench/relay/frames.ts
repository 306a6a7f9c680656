/** The few frames of HTTP/2 (RFC 9113) that one gRPC stream needs, by hand: a whole client costs more than the server that it is to load. */

export const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const;
/** END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING. */
export const FLAG_END = 1;
export const FLAG_ACK = 1;
const FLAG_END_HEADERS = 4;

const HEAD_BYTES = 9;
/** What a stream and a connection may be sent before they ask for more, where nobody says otherwise. */
export const WINDOW_BYTES = 65_535;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function encodeFrame({ type, flags, stream, payload }: Frame): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes.writeUInt8(type, 3);
  bytes.writeUInt8(flags, 4);
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, HEAD_BYTES);
  return bytes;
}

/** Lets the other side send so many bytes more; stream 0 is the connection. */
export function windowUpdate(stream: number, bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt32BE(bytes);
  return encodeFrame({ type: FRAME.windowUpdate, flags: 0, stream, payload });
}

/** What opens a connection and, on it, stream 1 with a call of `path`. */
export function openCall(path: string): Buffer {
  const settings = encodeFrame({ type: FRAME.settings, flags: 0, stream: 0, payload: Buffer.alloc(0) });
  const payload = Buffer.concat([
    Buffer.of(0x83, 0x87),
    literal(Buffer.of(0x04), path),
    literal(Buffer.of(0x01), "localhost"),
    literal(Buffer.of(0x0f, 0x10), "application/grpc"),
    literal(Buffer.concat([Buffer.of(0x00), text("te")]), "trailers"),
  ]);
  const headers = encodeFrame({ type: FRAME.headers, flags: FLAG_END_HEADERS, stream: 1, payload });
  return Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), settings, headers]);
}

/** One message of gRPC, not compressed, in one DATA frame. */
export function messageFrame(message: Uint8Array): Buffer {
  const payload = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  payload.writeUInt8(0, 0);
  payload.writeUInt32BE(message.length, 1);
  payload.set(message, PREFIX_BYTES);
  return encodeFrame({ type: FRAME.data, flags: 0, stream: 1, payload });
}

const PREFIX_BYTES = 5;

/** Takes a header field in plain letters, never indexed by the other side's table. */
const literal = (name: Buffer, value: string): Buffer => Buffer.concat([name, text(value)]);

/** Shorter than the 127 bytes from which on HPACK writes lengths otherwise. */
const text = (value: string): Buffer => Buffer.concat([Buffer.of(value.length), Buffer.from(value)]);

/** Cuts what arrives, however it is torn, into parts that say how long they are. */
class Cutter {
  readonly #lengthAt: (bytes: Buffer) => number | undefined;
  #rest: Buffer = Buffer.alloc(0);

  /** `lengthAt` reads the length of the part at the beginning, undefined while that has not arrived. */
  constructor(lengthAt: (bytes: Buffer) => number | undefined) {
    this.#lengthAt = lengthAt;
  }

  cut(chunk: Buffer): Buffer[] {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    const parts: Buffer[] = [];
    for (;;) {
      const length = this.#lengthAt(bytes);
      if (length === undefined || bytes.length < length) break;
      parts.push(bytes.subarray(0, length));
      bytes = bytes.subarray(length);
    }
    this.#rest = bytes;
    return parts;
  }
}

/** Reads frames out of what a connection brings. */
export class FrameReader {
  readonly #cutter = new Cutter((bytes) =>
    bytes.length < HEAD_BYTES ? undefined : HEAD_BYTES + bytes.readUIntBE(0, 3),
  );

  read(chunk: Buffer): Frame[] {
    return this.#cutter.cut(chunk).map((bytes) => ({
      type: bytes.readUInt8(3),
      flags: bytes.readUInt8(4),
      stream: bytes.readUInt32BE(5) & 0x7fff_ffff,
      payload: bytes.subarray(HEAD_BYTES),
    }));
  }
}

/** Reads messages of gRPC out of the payloads of DATA frames. */
export class MessageReader {
  readonly #cutter = new Cutter((bytes) =>
    bytes.length < PREFIX_BYTES ? undefined : PREFIX_BYTES + bytes.readUInt32BE(1),
  );

  read(payload: Buffer): Buffer[] {
    return this.#cutter.cut(payload).map((bytes) => bytes.subarray(PREFIX_BYTES));
  }
}
