import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { constants, inflateRawSync } from "node:zlib";

/** Secrets by what messages call them. */
export type Secrets = Readonly<Record<string, string>>;

/** Shorter pieces would be found by chance. */
const LEAST_CHARACTERS = 24;

/** What is searched, by its name: text, or bytes as latin1. */
export type Texts = Readonly<Record<string, string>>;

/**
 * Where secrets stand that should not: each text, and what is packed in it by gzip (also where base64 is around that, as
 * in a Helm release), is searched for each secret as it is, in JSON, as base64, and for the parts of a PEM text: its longest
 * line, its DER form and the base64 of that. Returns "what in which text", empty when nothing was found.
 */
export function findSecrets(secrets: Secrets, texts: Texts): string[] {
  const needles = Object.entries(secrets).flatMap(([what, secret]) => formsOf(secret).map((form) => ({ what, form })));
  const found = Object.entries(texts).flatMap(([name, text]) =>
    unpacked(text).flatMap((layer) =>
      needles.filter(({ form }) => layer.includes(form)).map(({ what }) => `${what} in ${name}`),
    ),
  );
  return [...new Set(found)];
}

/** All files below a folder by path, but those below `except`. */
export async function readTexts(folder: string, except: readonly string[] = []): Promise<Texts> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const searched = files.filter((file) => !except.some((place) => file.startsWith(`${place}/`)));
  return Object.fromEntries(
    await Promise.all(searched.map(async (file): Promise<[string, string]> => [file, await readFile(file, "latin1")])),
  );
}

function formsOf(secret: string): string[] {
  const trimmed = secret.trim();
  const body = trimmed.split("\n").filter((line) => !line.startsWith("-----"));
  const longest = [...body].sort((a, b) => b.length - a.length)[0] ?? "";
  const escaped = JSON.stringify(trimmed).slice(1, -1);
  const forms = [trimmed, escaped, longest, ...base64Of(Buffer.from(trimmed, "latin1"))];
  if (trimmed.startsWith("-----BEGIN")) {
    const der = Buffer.from(body.join(""), "base64");
    forms.push(der.toString("latin1"), ...base64Of(der));
  }
  return forms.filter((form) => form.length >= LEAST_CHARACTERS);
}

/** The base64 of `bytes` wherever they begin in what was encoded: the first and last characters depend on the neighbours. */
function base64Of(bytes: Buffer): string[] {
  return [0, 1, 2].map((shift) => {
    const whole = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString("base64")
      .replace(/=+$/, "");
    const withoutHead = shift === 0 ? whole : whole.slice(shift + 1);
    return withoutHead.slice(0, -1);
  });
}

const GZIP = "\x1f\x8b\x08";
const GZIP_HEAD = 10;
/** base64 of a gzip head, alone or encoded once more. */
const PACKED = /(?:H4sI|SDRzS)[A-Za-z0-9+/]{20,}/g;
const MAX_DEPTH = 4;

/** The text itself, and what is packed in it. */
function unpacked(text: string, depth = 0): string[] {
  if (depth === MAX_DEPTH) return [text];
  const inside = [
    ...gzipStarts(text).flatMap((start) => gunzip(text.slice(start))),
    ...(text.match(PACKED) ?? []).map((packed) => Buffer.from(packed, "base64").toString("latin1")),
  ];
  return [text, ...inside.flatMap((layer) => unpacked(layer, depth + 1))];
}

function gzipStarts(text: string): number[] {
  const starts: number[] = [];
  for (let at = text.indexOf(GZIP); at !== -1; at = text.indexOf(GZIP, at + 1)) starts.push(at);
  return starts;
}

/** Bytes that only look like gzip give nothing. The checksum is left out: what follows it may be anything. */
function gunzip(text: string): string[] {
  const hasName = (text.charCodeAt(3) & 8) !== 0;
  const body = hasName ? text.indexOf("\0", GZIP_HEAD) + 1 : GZIP_HEAD;
  try {
    const packed = Buffer.from(text.slice(body), "latin1");
    return [inflateRawSync(packed, { finishFlush: constants.Z_SYNC_FLUSH }).toString("latin1")];
  } catch {
    return [];
  }
}
