import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import * as z from "zod";
import { StateCell } from "./state-cell.ts";
import { StateDirectory } from "./state-directory.ts";

const SERVER = { program: "enterprise-networking" };

describe("state directory", () => {
  let base = "";
  before(async () => {
    base = await mkdtemp(join(tmpdir(), "state-"));
  });
  after(async () => rm(base, { recursive: true }));

  test("state directory - keeps documents in a private directory over a restart", async () => {
    const path = join(base, "keeps");
    const schema = z.object({ count: z.number() });
    const first = await StateDirectory.open(path, SERVER);
    assert.equal(await first.document("numbers", schema).read(), undefined);
    await first.document("numbers", schema).write({ count: 7 });
    await first.close();
    const second = await StateDirectory.open(path, SERVER);
    assert.deepEqual(await second.document("numbers", schema).read(), { count: 7 });
    assert.equal((await stat(path)).mode & 0o777, 0o700);
    assert.equal((await stat(second.file("numbers.json"))).mode & 0o777, 0o600);
    await second.close();
  });

  test("state directory - refuses another program, another cluster, a later format and strange files", async () => {
    const path = join(base, "agent");
    const owner = { program: "enterprise-agent", cluster: "cluster-1" };
    await (await StateDirectory.open(path, owner)).close();
    const foreign = (message: RegExp) => ({ code: "state_foreign", message });
    await assert.rejects(StateDirectory.open(path, SERVER), foreign(/belongs to enterprise-agent, not enterprise-net/));
    const other = { ...owner, cluster: "cluster-2" };
    await assert.rejects(StateDirectory.open(path, other), foreign(/belongs to cluster-1, not cluster-2/));
    await writeFile(join(path, "owner.json"), JSON.stringify({ ...owner, format: 2 }));
    await assert.rejects(StateDirectory.open(path, owner), foreign(/has format 2, want at most 1/));
    const strange = join(base, "strange");
    await mkdir(strange);
    await writeFile(join(strange, "thesis.tex"), "");
    await assert.rejects(StateDirectory.open(strange, SERVER), foreign(/holds thesis.tex but no owner.json/));
    assert.deepEqual(await readdir(strange), ["thesis.tex"]);
  });

  test("state directory - names a document that it did not write, and never shows what is in it", async () => {
    const directory = await StateDirectory.open(join(base, "corrupt"), SERVER);
    const document = directory.document("numbers", z.object({ count: z.number() }));
    for (const text of ['{"count": 1', '{"count": "s3cret"}']) {
      await writeFile(directory.file("numbers.json"), text);
      await assert.rejects(document.read(), (error: Error & { code: string; hint: string }) => {
        assert.equal(error.code, "state_corrupt");
        assert.match(error.message, /numbers\.json/);
        assert.match(error.hint, /restore .*numbers\.json from a backup/);
        return !error.message.includes("s3cret");
      });
    }
    await directory.close();
  });

  test("state directory - admits one process at a time, and takes over from one that was killed", async () => {
    const path = join(base, "locked");
    const holder = spawn(process.execPath, ["--input-type=module", "-e", HOLD, path], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(holder.stdout, "data");
    const inUse = { code: "conflict", message: new RegExp(`in use by process ${holder.pid}`) };
    await assert.rejects(StateDirectory.open(path, SERVER), inUse);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    await writeFile(join(path, ".abcdef012345.tmp"), "half a key");
    const directory = await StateDirectory.open(path, SERVER);
    await assert.rejects(StateDirectory.open(path, SERVER), { code: "conflict" });
    assert.deepEqual((await readdir(path)).sort(), ["lock", "owner.json"]);
    await directory.close();
    assert.deepEqual(await readdir(path), ["owner.json"]);
  });

  test("state directory - does not take a pid that was used again for its former owner", async () => {
    const path = join(base, "reused");
    await (await StateDirectory.open(path, SERVER)).close();
    await writeFile(join(path, "lock"), `${process.ppid} 1\n`);
    await (await StateDirectory.open(path, SERVER)).close();
    // In a container the restarted program has the pid of the one that was killed.
    await writeFile(join(path, "lock"), `${process.pid} 1\n`);
    await (await StateDirectory.open(path, SERVER)).close();
  });

  test("state cell - applies concurrent changes one after the other, and forgets the one that failed", async () => {
    const directory = await StateDirectory.open(join(base, "cell"), SERVER);
    const document = directory.document("numbers", z.object({ count: z.number() }));
    const cell = await StateCell.open(document, { count: 0 });
    const add = () => cell.update(async ({ count }) => ({ count: count + 1 }));
    const failing = cell.update(() => Promise.reject(new Error("no")));
    await Promise.all([add(), assert.rejects(failing), add(), add()]);
    assert.deepEqual([cell.value, await document.read()], [{ count: 3 }, { count: 3 }]);
    await directory.close();
  });
});

const HOLD = `
  const { StateDirectory } = await import(${JSON.stringify(new URL("./state-directory.ts", import.meta.url).href)});
  await StateDirectory.open(process.argv[1], { program: "enterprise-networking" });
  process.stdout.write("open");
  setInterval(() => {}, 1000);
`;
