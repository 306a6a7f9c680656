import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryFolder } from "../harness/folder.ts";
import { skipBecause } from "../harness/needs.ts";
import { freePort } from "../harness/ports.ts";
import { startProcess } from "../harness/process.ts";
import { findInstalled } from "../tools/registry.ts";

const REPOSITORY = join(import.meta.dirname, "../..");
const missing = ["bash", "curl", "openssl"].filter((program) => !findInstalled([program]));
const skip = missing.length > 0 && skipBecause(`the README's walk-through needs ${missing.join(", ")}`);

/** Ports of the walk-through; those that it leaves to the defaults are moved by variables. */
const PORTS = ["8200", "9900", "9977", "9091", "9092", "9093", "11101"];

/** The commands of the README's walk-through in one script, at free ports. */
async function readWalkThrough(): Promise<{ script: string; env: Record<string, string> }> {
  const readme = await readFile(join(REPOSITORY, "README.md"), "utf8");
  const [, section = ""] = /^## Standalone, step by step\n([^]*?)^## /m.exec(readme) ?? [];
  const blocks = [...section.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, body = ""]) => body);
  assert.ok(blocks.length >= 8, `${blocks.length} blocks`);
  let script = blocks.join("\n").replace("npm ci && npm run build\n", "");
  const taken = new Map<string, string>();
  for (const port of PORTS) {
    taken.set(port, String(await freePort()));
    script = script.replaceAll(new RegExp(`:${port}\\b`, "g"), `:${taken.get(port) ?? ""}`);
  }
  const enrollment = `localhost:${await freePort()}`;
  const env = {
    MESH_RELAY_RELAY_LISTEN: `127.0.0.1:${taken.get("9900") ?? ""}`,
    MESH_RELAY_ENROLLMENT_LISTEN: enrollment,
    MESH_RELAY_RELAY_ENROLLMENT_ADDRESS: enrollment,
    MESH_RELAY_ADMIN_LISTEN: `127.0.0.1:${await freePort()}`,
    MESH_RELAY_MONITOR_LISTEN: `127.0.0.1:${taken.get("9091") ?? ""}`,
  };
  return { script, env };
}

test("walk-through - the README's commands work as printed, one after the other", { skip }, async () => {
  assert.ok(existsSync(join(REPOSITORY, "dist/meshctl.js")), "run npm run build first");
  await using folder = await temporaryFolder();
  await mkdir(folder.file("tmp"));
  const { script, env } = await readWalkThrough();
  await using shell = await startProcess({
    name: "walk-through",
    command: "bash",
    args: ["-e", "-c", script],
    env: { ...env, TMPDIR: folder.file("tmp") },
    cwd: REPOSITORY,
    logFile: folder.file("log"),
  });
  const { code } = await shell.exited;
  const log = await shell.log();
  assert.equal(code, 0, log);
  assert.match(log, /^cluster cluster-1 is registered$/m);
  for (const file of ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"]) assert.match(log, RegExp(file));
  assert.match(log, /^virtual-mesh\.gloo-mesh +ACCEPTED +True/m);
  assert.match(log, /^cluster-1 .* ISSUED /m);
  assert.match(log, /ca-cert\.pem: OK$/m);
  assert.deepEqual(await readdir(folder.file("tmp")), [], "everything is forgotten");
});
