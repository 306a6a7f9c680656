import { BinaryWriter } from "@bufbuild/protobuf/wire";

/** What generated code offers for a message. */
export interface MessageType<T> {
  encode(message: T, writer?: BinaryWriter): BinaryWriter;
}

/** The writer keeps its room for the next message; not after one that is larger, which few are. */
const KEPT_BYTES = 64 * 1024;

let kept: BinaryWriter | undefined;

/**
 * The bytes of a message. A writer of its own for each would begin small and grow, one allocation outside of the heap after
 * the other, which costs several times what writing costs and makes the process larger.
 */
export function encodeMessage<T>(type: MessageType<T>, message: T): Buffer {
  const writer = kept ?? new BinaryWriter();
  // Not kept while it is in use: what throws leaves it half written.
  kept = undefined;
  const bytes = type.encode(message, writer).finish();
  if (bytes.length <= KEPT_BYTES) kept = writer;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
