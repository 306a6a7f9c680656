import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { temporaryFolder } from "./folder.ts";
import { startProcess } from "./process.ts";
import { eventually } from "./wait.ts";

test("harness - a program that ends before it is ready is reported with its last words", async () => {
  await using folder = await temporaryFolder();
  const spec = { name: "broken", command: "/bin/sh", logFile: folder.file("log"), ready: async () => false };
  await assert.rejects(startProcess({ ...spec, args: ["-c", "echo no such disk >&2; exit 3"] }), {
    code: "failed_precondition",
    message: /^broken ended with code 3 before it was ready; its last lines:\nno such disk$/,
  });
});

test("harness - a program that does not become ready is stopped, by force where it does not listen", async () => {
  await using folder = await temporaryFolder();
  const logFile = folder.file("log");
  const args = ["-c", "trap '' TERM; echo $$; while :; do sleep 1; done"];
  const spec = { name: "deaf", command: "/bin/sh", args, logFile, ready: async () => false, readyTimeoutMs: 500 };
  const error = await startProcess(spec).catch((thrown: unknown) => thrown as Error & { code: string });
  assert.ok(error instanceof Error);
  assert.equal(error.code, "deadline_exceeded");
  const pid = Number(error.message.split("\n").at(-1));
  assert.equal(isAlive(pid), false);
});

test("harness - programs and folders go with the test process, even when that is killed", async () => {
  const script = `
    const { startProcess } = await import(${JSON.stringify(join(import.meta.dirname, "process.ts"))});
    const { temporaryFolder } = await import(${JSON.stringify(join(import.meta.dirname, "folder.ts"))});
    const folder = await temporaryFolder();
    const args = ["-c", "sleep 600 & sleep 600"];
    const running = await startProcess({ name: "s", command: "/bin/sh", args, logFile: folder.file("log") });
    console.log(JSON.stringify({ pid: running.pid, path: folder.path }));
    process.kill(process.pid, "SIGKILL");
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [output] = await Promise.all([text(child.stdout), once(child, "exit")]);
  const { pid, path } = JSON.parse(output) as { pid: number; path: string };
  await eventually("its process group is gone", async () => !isAlive(-pid));
  await eventually("its folder is gone", async () => !existsSync(path));
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
