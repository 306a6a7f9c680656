import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Secrets by what messages call them. */
export type Secrets = Readonly<Record<string, string>>;

/** Shorter pieces would be found by chance. */
const LEAST_CHARACTERS = 24;

/** What is searched: the text by its name. */
export type Texts = Readonly<Record<string, string>>;

/**
 * Where secrets stand that should not: each text is searched for each secret as it is, as base64, and by the longest
 * line of a PEM text. Returns "what in which text", empty when nothing was found.
 */
export function findSecrets(secrets: Secrets, texts: Texts): string[] {
  const needles = Object.entries(secrets).flatMap(([what, secret]) => formsOf(secret).map((form) => ({ what, form })));
  const found = Object.entries(texts).flatMap(([name, text]) =>
    needles.filter(({ form }) => text.includes(form)).map(({ what }) => `${what} in ${name}`),
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
  const lines = trimmed.split("\n").filter((line) => !line.startsWith("-----"));
  const longest = lines.sort((a, b) => b.length - a.length)[0] ?? "";
  const escaped = JSON.stringify(trimmed).slice(1, -1);
  const base64 = Buffer.from(trimmed).toString("base64").replace(/=+$/, "");
  return [trimmed, escaped, longest, base64].filter((form) => form.length >= LEAST_CHARACTERS);
}
