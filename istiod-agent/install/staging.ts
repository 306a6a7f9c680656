import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CaFiles } from "../issue/signing-ca.ts";

/**
 * Our corner of the mount. istiod watches the directory itself and not what lies below, so nothing here wakes it, and a
 * rename out of here stays inside one file system.
 */
export const WORK_FOLDER = ".mesh-relay";

/** A set that is being written; worthless after a crash. */
const STAGING = "staging";
/** A set that is whole; it goes into force, if need be after the next start. */
const STAGED = "staged";

const CERTIFICATE_MODE = 0o644;

/**
 * Puts files into `directory`: all of them, or after a crash all of them at the next `recover`. The calls are
 * synchronous because nothing may come between the renames: istiod reads everything 100 ms after the first.
 */
export function replaceFiles(directory: string, files: Partial<CaFiles>, keyMode: number): void {
  const staging = join(directory, WORK_FOLDER, STAGING);
  rmSync(staging, { recursive: true, force: true });
  try {
    mkdirSync(staging, { mode: 0o700 });
    for (const [name, data] of Object.entries(files)) {
      writeStaged(join(staging, name), data, name === "ca-key.pem" ? keyMode : CERTIFICATE_MODE);
    }
    renameSync(staging, join(directory, WORK_FOLDER, STAGED));
  } catch (error) {
    rmSync(staging, { recursive: true, force: true });
    throw error;
  }
  rollForward(directory);
}

function writeStaged(path: string, data: string, mode: number): void {
  writeFileSync(path, data, { mode: 0o600, flag: "wx" });
  // The mask of the process must not take away what istiod's user needs.
  chmodSync(path, mode);
}

/** Finishes what a killed process left: a whole set goes into force, a part of one is removed. */
export function recover(directory: string): void {
  rmSync(join(directory, WORK_FOLDER, STAGING), { recursive: true, force: true });
  const left = readdirSync(join(directory, WORK_FOLDER));
  if (left.includes(STAGED)) rollForward(directory);
}

function rollForward(directory: string): void {
  const staged = join(directory, WORK_FOLDER, STAGED);
  for (const name of readdirSync(staged)) renameSync(join(staged, name), join(directory, name));
  rmSync(staged, { recursive: true });
}
