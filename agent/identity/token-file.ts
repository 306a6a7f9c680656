import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { readFileIfExists } from "../../common/runtime/files.ts";
import { MeshError } from "../../common/runtime/errors.ts";

/** The token that lies in a file now. */
export interface FoundToken {
  readonly text: string;
  /** Hex SHA-256 of the text: names it without giving it away. */
  readonly hash: string;
}

/** undefined where there is no file or it is empty. Throws `config_invalid` for a file that cannot be read. */
export async function readTokenFile(path: string): Promise<FoundToken | undefined> {
  let text: string | undefined;
  try {
    text = (await readFileIfExists(path))?.trim();
  } catch (cause) {
    throw new MeshError("config_invalid", `token file cannot be read: ${MeshError.from(cause).message}`, { cause });
  }
  return text ? { text, hash: createHash("sha256").update(text).digest("hex") } : undefined;
}

/** Deletes a token that was used, where the file may be deleted: a mounted Secret may not. */
export async function removeTokenFile(path: string, hash: string): Promise<void> {
  // Somebody may have put the next token there meanwhile.
  const found = await readTokenFile(path).catch(() => undefined);
  if (found?.hash === hash) await rm(path, { force: true }).catch(() => undefined);
}
