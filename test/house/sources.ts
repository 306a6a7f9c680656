import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";

export const REPOSITORY = join(import.meta.dirname, "../..");

/** Folders with sources of ours. */
export const FOLDERS = [
  "common",
  "server",
  "agent",
  "istiod-agent",
  "cli",
  "dev-vault",
  "demo",
  "bench",
  "test",
  "scripts",
] as const;

export interface Source {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
}

/** Every file of the repository that fits a pattern, in order of path; what others made is left out. */
export async function sources(patterns: readonly string[]): Promise<Source[]> {
  const exclude = ["**/node_modules/**", "dist/**", "proto/gen/**"];
  const paths: string[] = [];
  for await (const path of glob(patterns, { cwd: REPOSITORY, exclude })) paths.push(path);
  return Promise.all(paths.sort().map(async (path) => ({ path, text: await read(path) })));
}

/** Every TypeScript file of ours that was written by hand. */
export async function typescriptSources(): Promise<Source[]> {
  const all = await sources(FOLDERS.map((folder) => `${folder}/**/*.ts`));
  return all.filter(({ path }) => !path.endsWith(".gen.ts"));
}

/** True for what only tests run. */
export const isTest = ({ path }: Source): boolean => path.startsWith("test/") || path.endsWith(".test.ts");

/** Text of one file. */
export const read = (path: string): Promise<string> => readFile(join(REPOSITORY, path), "utf8");
