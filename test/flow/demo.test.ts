import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { startDevVault } from "../../dev-vault/server.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { CLUSTER_STEPS } from "../../demo/progress.ts";
import { planAddresses } from "../../demo/ports.ts";
import { findProgram } from "../../demo/vault.ts";
import { bundle } from "../../demo/programs.ts";
import { callVault } from "../../demo/vault-setup.ts";
import { WatchStatusResponse } from "../../proto/gen/admin/v1/admin.ts";
import { CertificateState } from "../../proto/gen/certificates/v1/certificates.ts";
import { type DemoDocument, freePortOffset, startDemo } from "../harness/demo.ts";
import { runCommand } from "../harness/command.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { eventually } from "../harness/wait.ts";

const EXAMPLE = new URL("../../examples/virtual-mesh.yaml", import.meta.url);

test("demo - converges, checks itself and leaves nothing behind", async () => {
  const offset = await freePortOffset();
  await using demo = await startDemo("--once", "--timeout", "120s", "--port-offset", String(offset));
  assert.equal(await demo.ended, 0, demo.told());
  const document = await demo.document();
  const { clusters, checks, steps } = document;
  assert.deepEqual(
    clusters.map(({ cluster, state }) => [cluster, state]),
    [
      ["cluster-1", "ISSUED"],
      ["cluster-2", "ISSUED"],
    ],
  );
  assert.equal(new Set(clusters.map(({ rootSha256 }) => rootSha256)).size, 1);
  assert.equal(new Set(clusters.map(({ serial }) => serial)).size, 2);
  assert.deepEqual(
    checks.filter(({ passed }) => !passed),
    [],
  );
  assert.equal(checks.length, 6);
  for (const { cluster } of clusters) {
    const reached = steps.filter((step) => step.cluster === cluster).map(({ step }) => step);
    assert.deepEqual(new Set(reached), new Set(CLUSTER_STEPS), cluster);
  }
  await assertNothingLeft(document);
  await planAddresses(2, offset);
});

test("demo - an edit flows, a broken one is refused and survives a restart of the server", async () => {
  await using demo = await startDemo("--timeout", "120s", "--port-offset", String(await freePortOffset()));
  const document = await demo.document();
  const path = join(document.workDirectory, "source", "virtual-mesh.yaml");
  const example = await readFile(EXAMPLE, "utf8");
  assert.equal(await readFile(path, "utf8"), example);
  await assertKeysGuarded(document);
  for (const command of document.commands.filter(canRun)) await runCommand("/bin/sh", ["-c", command]);

  const localKey = example.replace(/ *csrPath:.*\n/, "");
  await writeFile(path, localKey);
  for (const { cluster, serial } of document.clusters) {
    const [, renewed] = await demo.tells(new RegExp(`${cluster}: ISSUED serial ([0-9a-f:]+)`));
    assert.notEqual(renewed, serial);
  }
  await writeFile(path, localKey.replace("caPath:", "caPat:"));
  const line = localKey.split("\n").findIndex((text) => text.includes("caPath:")) + 1;
  await demo.tells(new RegExp(`the last good intent stays in force:\\n.*virtual-mesh.yaml:${line}:.*caPat`));

  const server = document.processes.find(({ name }) => name === "server");
  assert.ok(server);
  process.kill(server.pid, "SIGKILL");
  await demo.tells(/server was ended by SIGKILL; it is started again/);
  await eventually("refused and in force after the restart", () =>
    isRefusedAndInForce(server.listeners["admin"] ?? ""),
  );

  await writeFile(
    path,
    localKey.replace("    shared:\n", "    shared:\n      intermediateCertOptions: {ttlDays: 20}\n"),
  );
  const told = demo.told().length;
  for (const { cluster } of document.clusters) {
    await eventually(`${cluster} follows`, async () => demo.told().slice(told).includes(`${cluster}: ISSUED serial`), {
      timeoutMs: 120_000,
    });
  }
  demo.kill("SIGINT");
  assert.equal(await demo.ended, 0, demo.told());
  await assertNothingLeft(document);
});

test("demo - killed, it takes its processes and files with it", async () => {
  const offset = await freePortOffset(1);
  await using demo = await startDemo("--clusters", "1", "--timeout", "120s", "--port-offset", String(offset));
  const document = await demo.document();
  assert.deepEqual(
    document.clusters.map(({ cluster }) => cluster),
    ["cluster-1"],
  );
  demo.kill("SIGKILL");
  assert.equal(await demo.ended, "SIGKILL");
  await eventually("nothing left", async () => {
    await assertNothingLeft(document);
    return true;
  });
});

test("demo - a fixed port that is taken is reported before anything is started", async () => {
  const offset = await freePortOffset();
  const other = createServer().listen(9901 + offset, "127.0.0.1");
  await once(other, "listening");
  try {
    await using demo = await startDemo("--once", "--port-offset", String(offset));
    assert.equal(await demo.ended, 1);
    assert.match(
      demo.told(),
      new RegExp(`^error: another process listens on 127.0.0.1:${9901 + offset}\\nhint: .*--port-offset`),
    );
  } finally {
    other.close();
  }
});

test("demo - says which step is missing when it does not converge in time", async () => {
  await using demo = await startDemo("--once", "--timeout", "1s", "--port-offset", String(await freePortOffset()));
  assert.equal(await demo.ended, 1);
  const document = await demo.document();
  assert.equal(document.converged, false);
  assert.match(document.error?.message ?? "", /^not converged within 1 s: cluster-1 lacks "[a-z -]+"/);
  await assertNothingLeft(document);
});

test("demo - a Vault of yours is not overwritten without consent", async () => {
  const token = "root-of-the-test";
  const vault = await startDevVault({ rootToken: token, log: silentLog, listen: { host: "127.0.0.1", port: 0 } });
  await using folder = await temporaryFolder();
  try {
    await writeFile(folder.file("token"), token, { mode: 0o600 });
    await callVault({ address: vault.address, token }, "POST", "sys/mounts/pki", { type: "pki" });
    const yours = ["--vault", vault.address, "--vault-token-file", folder.file("token"), "--once", "--timeout", "120s"];
    await using refused = await startDemo(...yours, "--port-offset", String(await freePortOffset()));
    assert.equal(await refused.ended, 1);
    assert.match(refused.told(), /has already: secrets engine pki\/\nhint: .*--setup/);
    await using consented = await startDemo(...yours, "--setup", "--port-offset", String(await freePortOffset()));
    assert.equal(await consented.ended, 0, consented.told());
  } finally {
    await vault.close();
  }
});

/** Asks a server, which may not be back yet: the file is refused, and both clusters are connected and supplied. */
async function isRefusedAndInForce(admin: string): Promise<boolean> {
  const { command, args } = bundle("meshctl", "status", "--json", "--server", admin);
  const { virtualMeshes } = WatchStatusResponse.fromJSON(JSON.parse(await runCommand(command, args)));
  const [virtualMesh] = virtualMeshes;
  const supplied = virtualMesh?.clusters.filter(({ connected, applied, certificate }) => {
    return connected && applied && certificate?.state === CertificateState.CERTIFICATE_STATE_ISSUED;
  });
  return virtualMesh?.status?.["state"] === "INVALID" && supplied?.length === 2;
}

/** Where a machine lacks openssl or grpcurl, what is printed for it cannot be tried. */
const canRun = (command: string): boolean => findProgram(command.split(" ")[0] ?? "") !== undefined;

async function assertNothingLeft({ processes, workDirectory, secretDirectory }: DemoDocument): Promise<void> {
  for (const { name, pid } of processes) assert.throws(() => process.kill(pid, 0), { code: "ESRCH" }, name);
  for (const path of [workDirectory, secretDirectory]) assert.ok(!existsSync(path), path);
}

/** Private keys and tokens lie in the secret directory alone, and nobody else can read them. */
async function assertKeysGuarded({ workDirectory, secretDirectory }: DemoDocument): Promise<void> {
  const secret = /PRIVATE KEY|^eyJ|"privateKey"/;
  for (const path of await filesOf(workDirectory)) assert.doesNotMatch(await readFile(path, "utf8"), secret, path);
  const guarded: string[] = [];
  for (const path of await filesOf(secretDirectory)) {
    if (!secret.test(await readFile(path, "utf8"))) continue;
    guarded.push(path);
    assert.equal((await stat(path)).mode & 0o777, 0o600, path);
  }
  assert.ok(guarded.some((path) => path.endsWith("ca-key.pem")));
  assert.equal((await stat(secretDirectory)).mode & 0o777, 0o700);
}

async function filesOf(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
}
