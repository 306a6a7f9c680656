import assert from "node:assert/strict";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { systemClock } from "../../common/runtime/clock.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { SourceDirectory, type SourceSnapshot } from "./source-directory.ts";

interface Watched extends AsyncDisposable {
  readonly path: string;
  /** The first snapshot that `accept` takes. */
  until(accept: (snapshot: SourceSnapshot) => boolean): Promise<SourceSnapshot>;
}

async function watchDirectory(files: Record<string, string>): Promise<Watched> {
  const path = await mkdtemp(join(tmpdir(), "source-"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
  const source = new SourceDirectory({ path, clock: systemClock, log: silentLog, pollMs: 5 });
  const stop = new AbortController();
  const running = source.run(stop.signal);
  return {
    path,
    until: (accept) => source.snapshots.until(accept, AbortSignal.timeout(30_000)),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await rm(path, { recursive: true, force: true });
    },
  };
}

const texts = ({ files }: SourceSnapshot): string[] => files.map(({ file, text }) => `${file}=${text}`);

describe("source directory", () => {
  test("source directory - delivers yaml files in order, then what changed, appeared and went", async () => {
    await using watched = await watchDirectory({ "b.yml": "2", "a.yaml": "1", ".c.yaml": "no", "d.txt": "no" });
    assert.deepEqual(texts(await watched.until(() => true)), ["a.yaml=1", "b.yml=2"]);
    // The same length within one tick of the file system's clock.
    await writeFile(join(watched.path, "a.yaml"), "3");
    await writeFile(join(watched.path, "e.yaml"), "4");
    await rm(join(watched.path, "b.yml"));
    const changed = await watched.until((snapshot) => texts(snapshot).join() === "a.yaml=3,e.yaml=4");
    assert.deepEqual(changed.faults, []);
  });

  test("source directory - reports a directory that vanishes, and goes on when it is back", async () => {
    await using watched = await watchDirectory({ "a.yaml": "1" });
    await watched.until(() => true);
    await rename(watched.path, `${watched.path}.away`);
    const { files, faults } = await watched.until((snapshot) => snapshot.faults.length > 0);
    assert.deepEqual(files, []);
    assert.match(faults[0]?.message ?? "", /directory cannot be read/);
    await rename(`${watched.path}.away`, watched.path);
    const back = await watched.until((snapshot) => snapshot.files.length === 1);
    assert.deepEqual([texts(back), back.faults], [["a.yaml=1"], []]);
  });

  test("source directory - a file that cannot be read does not hide the others", async () => {
    await using watched = await watchDirectory({ "a.yaml": "1", "big.yaml": "x".repeat(4 * 1024 * 1024 + 1) });
    const { files, faults } = await watched.until(() => true);
    assert.deepEqual(
      files.map(({ file }) => file),
      ["a.yaml"],
    );
    assert.match(faults[0]?.message ?? "", /4194305 bytes, at most 4194304/);
  });
});
