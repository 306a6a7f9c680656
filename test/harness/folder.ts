import { existsSync } from "node:fs";
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { enterReaped, leaveReaped } from "./reaper.ts";

export interface TemporaryFolder extends AsyncDisposable {
  readonly path: string;
  /** Absolute path of a file in it. */
  file(...names: string[]): string;
}

/**
 * A folder of mode 0700 that is gone at the end of its scope, or at the latest with this process. It lies in memory
 * where the machine has a file system for that, so key material never reaches a disk.
 */
export async function temporaryFolder(): Promise<TemporaryFolder> {
  const memory = "/dev/shm";
  const base = existsSync(memory) ? memory : await realpath(tmpdir());
  const path = await mkdtemp(join(base, "mesh-relay-"));
  await enterReaped("folder", path);
  return {
    path,
    file: (...names) => join(path, ...names),
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true, maxRetries: 5 });
      await leaveReaped("folder", path);
    },
  };
}
