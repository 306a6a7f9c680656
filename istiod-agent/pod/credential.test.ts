import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileCredential, jwtCredential } from "./credential.ts";

test("credential - a file named by an order goes to vault only when it holds a service account token", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mesh-relay-"));
  const { signal } = new AbortController();
  const path = join(folder, "token");
  const write = (text: string): Promise<void> => writeFile(path, text, { mode: 0o600 });
  try {
    await write("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl\n");
    assert.equal(await jwtCredential(path).read(signal), "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl");
    for (const other of [
      "-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----",
      "a.b",
      "a.b.c\na.b.c",
      "hvs.x",
    ]) {
      await write(other);
      await assert.rejects(jwtCredential(path).read(signal), (error: Error) => {
        assert.match(error.message, /holds no service account token$/);
        return !error.message.includes(other);
      });
      assert.equal(await fileCredential(path).read(signal), other);
    }
    for (const unreadable of [folder, "/dev/zero", join(folder, "none")]) {
      await assert.rejects(fileCredential(unreadable).read(signal), { code: "failed_precondition", retriable: true });
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
