import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { temporaryFolder } from "../harness/folder.ts";
import { withLock } from "./lock.ts";

const signal = AbortSignal.timeout(60_000);

test("tools - a lock whose holder is gone is broken", async () => {
  await using folder = await temporaryFolder();
  const path = folder.file("lock");
  const dead = spawn("/bin/sh", ["-c", "exit 0"]);
  await once(dead, "exit");
  await writeFile(path, String(dead.pid));
  const held = await withLock(path, async () => existsSync(path), { signal, onWait: () => assert.fail("waited") });
  assert.equal(held, true);
  assert.equal(existsSync(path), false);
});

test("tools - two who want the lock have it one after the other", async () => {
  await using folder = await temporaryFolder();
  const path = folder.file("lock");
  const events: string[] = [];
  let second: Promise<void> | undefined;
  const waits = Promise.withResolvers<number>();
  await withLock(
    path,
    async () => {
      second = withLock(path, async () => void events.push("second"), { signal, onWait: waits.resolve });
      assert.equal(await waits.promise, process.pid);
      events.push("first");
    },
    { signal, onWait: () => assert.fail("waited") },
  );
  await second;
  assert.deepEqual(events, ["first", "second"]);
});
