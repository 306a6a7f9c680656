import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { MeshError } from "./errors.ts";

/** Replaces `path` whole: readers see the old bytes or the new ones, also after a SIGKILL or a power cut. */
export async function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o600): Promise<void> {
  const directory = dirname(path);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const temporary = join(directory, `.${randomBytes(6).toString("hex")}.tmp`);
  try {
    const file = await open(temporary, "wx", mode);
    try {
      // The mask of the process must not take away what the reader needs.
      await file.chmod(mode);
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** The file's text, or undefined where there is no such file. Other faults are thrown as they are. */
export async function readFileIfExists(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** More than any token or bundle of certificates. */
const MAX_GIVEN_BYTES = 1024 * 1024;

/**
 * Reads a file whose path somebody else chose: a regular one of at most 1 MiB, so that neither a device nor a pipe holds
 * up or fills this process. Throws the faults of the file system as they are, and `failed_precondition` for the rest.
 */
export async function readGivenFile(path: string, signal: AbortSignal): Promise<string> {
  const found = await stat(path);
  if (!found.isFile()) throw new MeshError("failed_precondition", `${path} is not a regular file`);
  if (found.size > MAX_GIVEN_BYTES) {
    throw new MeshError("failed_precondition", `${path} has ${found.size} bytes, want at most ${MAX_GIVEN_BYTES}`);
  }
  return readFile(path, { encoding: "utf8", signal });
}

/** Reads JSON that this program wrote earlier; a file that does not parse is `state_corrupt`, with what to do. */
export async function readJsonState(path: string): Promise<unknown> {
  const text = await readFileIfExists(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new MeshError("state_corrupt", `${path} is not valid json`, {
      cause,
      hint: `restore ${path} from a backup, or move it away to start without it`,
    });
  }
}
