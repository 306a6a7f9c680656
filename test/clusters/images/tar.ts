import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { MeshError } from "../../../common/runtime/errors.ts";
import type { Entry } from "./entries.ts";

const BLOCK = 512;
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;

/** The bytes of a tar archive (ustar) of these entries. Equal entries give equal bytes, on every machine. */
export async function* tarOf(entries: Iterable<Entry>): AsyncGenerator<Buffer> {
  for (const entry of entries) {
    const size = await sizeOf(entry);
    yield headerOf(entry, size);
    if (entry.kind === "file") {
      if (typeof entry.source === "string") yield* contentOf(entry.source, size);
      else yield entry.source;
    }
    yield Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
  }
  yield Buffer.alloc(2 * BLOCK);
}

async function sizeOf(entry: Entry): Promise<number> {
  if (entry.kind !== "file") return 0;
  return typeof entry.source === "string" ? (await stat(entry.source)).size : entry.source.length;
}

async function* contentOf(path: string, size: number): AsyncGenerator<Buffer> {
  let left = size;
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>) {
    left -= chunk.length;
    yield chunk;
  }
  if (left !== 0) throw new MeshError("conflict", `${path} changed while it was read`);
}

const TYPE = { file: "0", link: "2", folder: "5" } as const;

/** Pure: the header of one entry. */
export function headerOf(entry: Entry, size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const { prefix, name } = splitPath(entry.kind === "folder" ? `${entry.path}/` : entry.path);
  const target = entry.kind === "link" ? entry.target : "";
  if (Buffer.byteLength(target) > NAME_BYTES) throw tooLong(target);
  header.write(name, 0);
  header.write(octal(entry.kind === "link" ? 0o777 : entry.mode, 8), 100);
  header.write(octal(0, 8) + octal(0, 8), 108);
  header.write(octal(size, 12) + octal(0, 12), 124);
  header.write(" ".repeat(8), 148);
  header.write(TYPE[entry.kind], 156);
  header.write(target, 157);
  header.write("ustar\u000000", 257);
  header.write(prefix, 345);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 7)} `, 148);
  return header;
}

const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, "0")}\0`;

/** A long path stands in two fields, parted at a slash. */
function splitPath(path: string): { prefix: string; name: string } {
  if (Buffer.byteLength(path) <= NAME_BYTES) return { prefix: "", name: path };
  for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)];
    if (Buffer.byteLength(name) <= NAME_BYTES && name !== "" && Buffer.byteLength(prefix) <= PREFIX_BYTES) {
      return { prefix, name };
    }
  }
  throw tooLong(path);
}

const tooLong = (path: string): MeshError => new MeshError("invalid_argument", `${path} is too long for a tar archive`);
