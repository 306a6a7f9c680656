import assert from "node:assert/strict";
import { once } from "node:events";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Battlefield } from "./attacks/battlefield.ts";
import { ATTACKS } from "./attacks/table.ts";
import { tcp } from "./attacks/raw.ts";

describe("attacks", { timeout: 600_000 }, () => {
  let field: Battlefield;
  /** How long who says nothing was left in peace. */
  let silentMs: Promise<number>;

  before(async () => {
    field = await Battlefield.start();
    const socket = tcp(field.address("enrollmentListen"));
    const openedMs = performance.now();
    silentMs = once(socket, "close").then(() => performance.now() - openedMs);
  });
  after(() => field[Symbol.asyncDispose]());

  for (const attack of ATTACKS) test(`attacks - ${attack.name}`, () => field.endure(attack));

  test("attacks - with a mask of 000 nobody else can read a file or open the socket", async () => {
    const folders = [field.mesh.folder.file("server"), field.mesh.folder.file("cluster-1", "agent")];
    for (const folder of folders) {
      assert.equal((await stat(folder)).mode & 0o777, 0o700, folder);
      for (const name of await readdir(folder)) {
        const { mode } = await stat(join(folder, name));
        assert.equal(mode & 0o777, 0o600, join(folder, name));
      }
    }
  });

  test("attacks - no log, however talkative, holds a token, a key or what drives a terminal", async () => {
    const { folder } = field.mesh;
    const [, keyBody = ""] = field.stolen.keyPem.split("\n");
    const logs = [["server.log"], ["cluster-1", "agent.log"], ["cluster-2", "agent.log"]];
    for (const log of logs.map((path) => folder.file(...path))) {
      const text = await readFile(log, "utf8");
      assert.match(text, /"level":"info"/);
      assert.doesNotMatch(text, new RegExp("[\\u0000-\\u0009\\u000b-\\u001f]"), log);
      assert.doesNotMatch(text, /rjt1\.[0-9a-f]{16}\.|eyJ[\w-]{20}|PRIVATE KEY/, log);
      assert.equal(text.includes(keyBody), false, log);
      assert.ok(
        text.split("\n").every((line) => line.length < 10_000),
        `${log}: a line without bound`,
      );
    }
  });

  test("attacks - who connects to 9901 and says nothing is sent away", async () => {
    // After 10 s, or whenever a busy machine comes to it; Node alone would wait for two minutes.
    const openMs = await silentMs;
    assert.ok(openMs < 100_000, `open for ${openMs} ms`);
  });
});
