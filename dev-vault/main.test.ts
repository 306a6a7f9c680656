import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json, text } from "node:stream/consumers";
import { describe, test } from "node:test";
import { createRootCa, signCertificate } from "../common/pki/authority.ts";
import { toPem } from "../common/pki/certificate.ts";
import { generateKey, privateKeyToPem } from "../common/pki/keys.ts";
import { startDevVault } from "./server.ts";

const MAIN = join(import.meta.dirname, "main.ts");
const EC = { type: "ec", curve: "P-256" } as const;

describe("dev vault", () => {
  test("dev vault - as a program it says where it listens, warns that it is no real one, and ends on SIGTERM", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dev-vault-"));
    await writeFile(join(folder, "token"), "secret-root\n", { mode: 0o600 });
    const args = [MAIN, "--listen", "127.0.0.1:0", "--root-token-file", join(folder, "token")];
    const program = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    try {
      const printed = text(program.stderr);
      const [line] = (await once(program.stdout, "data")) as [Buffer];
      const { address } = JSON.parse(line.toString()) as { address: string };
      const headers = { "x-vault-token": "secret-root" };
      assert.equal((await fetch(`${address}/v1/auth/token/lookup-self`, { headers })).status, 200);
      program.kill("SIGTERM");
      assert.deepEqual(await once(program, "exit"), [0, null]);
      const log = await printed;
      assert.match(log, /development Vault: .*Never use it for real certificates/);
      assert.doesNotMatch(log, /secret-root/);
    } finally {
      program.kill("SIGKILL");
      await rm(folder, { recursive: true });
    }
  });

  test("dev vault - serves TLS where it is given a certificate", async () => {
    const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 };
    const caKey = await generateKey(EC);
    const ca = await createRootCa({ subject: { commonName: "ca" }, key: caKey, ...validity });
    const key = await generateKey(EC);
    const issuer = { certificate: ca, key: caKey };
    const cert = await signCertificate({ issuer, subject: {}, publicKey: key, ipSans: ["127.0.0.1"], ...validity });
    await using vault = await startDevVault({
      rootToken: "r",
      tls: { key: privateKeyToPem(key), cert: toPem([cert]) },
    });
    const call = request(`${vault.address}/v1/sys/health`, { ca: toPem([ca]), agent: false }).end();
    const [response] = (await once(call, "response")) as [NodeJS.ReadableStream];
    assert.equal(((await json(response)) as { sealed: boolean }).sealed, false);
    assert.match(vault.address, /^https:/);
  });

  test("dev vault - what is not its api is refused without harm", async () => {
    await using vault = await startDevVault({ rootToken: "r" });
    const status = async (path: string, init: RequestInit = {}) => (await fetch(vault.address + path, init)).status;
    assert.deepEqual([await status("/"), await status("/v1/sys/health", { method: "PATCH" })], [404, 405]);
    const post = (body: string) => ({ method: "POST", body, headers: { "x-vault-token": "r" } });
    for (const body of ["{", "[1]", "null", `{"key":"${"x".repeat(1024 * 1024)}"}`]) {
      assert.equal(await status("/v1/auth/token/create", post(body)), 500);
    }
    assert.equal(await status("/v1/auth/token/create", post("")), 200);
  });
});
