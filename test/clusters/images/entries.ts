import { lstat, readdir, readlink } from "node:fs/promises";
import { join, posix } from "node:path";
import { runCommand } from "../../harness/command.ts";

/** One file, folder or link of an image; paths have no leading slash. All belong to root, none has a date. */
export type Entry =
  | { readonly kind: "folder"; readonly path: string; readonly mode: number }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  | { readonly kind: "file"; readonly path: string; readonly mode: number; readonly source: string | Buffer };

/** A path of an image as tar has it. */
export const insideImage = (path: string): string => posix.normalize(`/${path}`).slice(1).replace(/\/$/, "");

/** A file made of this text. */
export function textFile(path: string, text: string, mode = 0o644): Entry {
  return { kind: "file", path: insideImage(path), mode, source: Buffer.from(text) };
}

/** A file of this machine under another path; a link is followed. */
export function fileAt(path: string, source: string, mode = 0o755): Entry {
  return { kind: "file", path: insideImage(path), mode, source };
}

/** A symbolic link. */
export function linkAt(path: string, target: string): Entry {
  return { kind: "link", path: insideImage(path), target };
}

/** A folder of its own, such as one that everybody may write to. */
export function folderAt(path: string, mode = 0o755): Entry {
  return { kind: "folder", path: insideImage(path), mode };
}

/** A file, or all below a folder, at `path`. Throws the faults of the file system as they are. */
export async function copied(source: string, path: string): Promise<Entry[]> {
  const found = await lstat(source);
  if (found.isSymbolicLink()) return [linkAt(path, await readlink(source))];
  // As git has them: what a mask of this machine took away must not change an image.
  if (!found.isDirectory()) return [fileAt(path, source, found.mode & 0o100 ? 0o755 : 0o644)];
  const names = (await readdir(source)).sort();
  const below = await Promise.all(names.map((name) => copied(join(source, name), posix.join(path, name))));
  return [folderAt(path), ...below.flat()];
}

/** The shared libraries of a program, and its loader, where it looks for them. */
export async function librariesOf(program: string): Promise<Entry[]> {
  const output = await runCommand("ldd", [program]);
  const paths = [...output.matchAll(/^\s+(?:\S+ => )?(\/\S+) \(0x/gm)].map(([, path = ""]) => path);
  return paths.map((path) => fileAt(path, path));
}

/** Every entry once, the last of a path wins, with the folders above it, in order of path. */
export function arranged(entries: readonly Entry[]): Entry[] {
  const byPath = new Map<string, Entry>();
  for (const entry of entries) {
    for (let above = posix.dirname(entry.path); above !== "."; above = posix.dirname(above)) {
      if (!byPath.has(above)) byPath.set(above, folderAt(above));
    }
    if (entry.path !== "") byPath.set(entry.path, entry);
  }
  return [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}
