import assert from "node:assert/strict";
import { mkdtemp, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readGivenFile, writeFileAtomic } from "./files.ts";

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "mesh-relay-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("files - a file has the mode that was asked for, whatever the process's mask", async () => {
  await inFolder(async (folder) => {
    for (const mask of [0o000, 0o077]) {
      const before = process.umask(mask);
      try {
        for (const mode of [0o600, 0o644]) {
          const path = join(folder, `${mask}`, `${mode}`);
          await writeFileAtomic(path, "text", mode);
          assert.equal((await stat(path)).mode & 0o777, mode);
        }
        assert.equal((await stat(join(folder, `${mask}`))).mode & 0o777, 0o700);
      } finally {
        process.umask(before);
      }
    }
  });
});

test("files - a path that somebody else chose names a regular file of modest size, or it is not read", async () => {
  await inFolder(async (folder) => {
    const { signal } = new AbortController();
    const path = join(folder, "given");
    await writeFile(path, "text");
    assert.equal(await readGivenFile(path, signal), "text");
    await truncate(path, 2 * 1024 * 1024);
    await assert.rejects(readGivenFile(path, signal), { code: "failed_precondition", message: /has 2097152 bytes/ });
    for (const other of [folder, "/dev/zero"]) {
      await assert.rejects(readGivenFile(other, signal), { message: /not a regular file/ });
    }
    await assert.rejects(readGivenFile(join(folder, "none"), signal), { code: "ENOENT" });
  });
});
