import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { createRootCa, signCertificate, type Authority } from "../../common/pki/authority.ts";
import { generateKey } from "../../common/pki/keys.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { type CaFiles, proveSigningCa, type SigningCa, toCaFiles } from "../issue/signing-ca.ts";
import { installError } from "./errors.ts";
import { Installer } from "./installer.ts";

const EC = { type: "ec", curve: "P-256" } as const;
const HOUR_MS = 3_600_000;
const FILES = ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"] as const;

async function makeRoot(commonName: string): Promise<Authority> {
  const key = await generateKey(EC);
  const validity = { notBeforeMs: Date.now() - HOUR_MS, notAfterMs: Date.now() + 100 * HOUR_MS };
  return { key, certificate: await createRootCa({ subject: { commonName }, key, ...validity }) };
}

async function makeCa(root: Authority): Promise<SigningCa> {
  const key = await generateKey(EC);
  const certificate = await signCertificate({
    issuer: root,
    subject: { commonName: "istiod" },
    publicKey: key,
    ca: { pathLength: 0 },
    notBeforeMs: Date.now() - HOUR_MS,
    notAfterMs: Date.now() + 10 * HOUR_MS,
  });
  return proveSigningCa({ key, certificate, pool: [root.certificate], nowMs: Date.now() });
}

let first: SigningCa;
let second: SigningCa;
let foreign: SigningCa;

before(async () => {
  const root = await makeRoot("root");
  [first, second, foreign] = await Promise.all([makeCa(root), makeCa(root), makeRoot("other root").then(makeCa)]);
});

function temporaryDirectory(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "install-"));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const open = (directory: string, clock: Clock = systemClock) => Installer.open({ directory, clock });

/** What istiod would read; undefined for a file that is not there. */
function filesIn(directory: string): Partial<CaFiles> {
  const present = FILES.filter((name) => readdirSync(directory).includes(name));
  return Object.fromEntries(present.map((name) => [name, readFileSync(join(directory, name), "utf8")]));
}

test("install - writes the four files as istiod wants them, the key only for its user", async (context) => {
  const directory = temporaryDirectory(context);
  await using installer = await open(directory);
  assert.equal(installer.installedRoot(), undefined);
  installer.install(first);
  assert.deepEqual(filesIn(directory), toCaFiles(first));
  assert.deepEqual(filesIn(directory)["root-cert.pem"], first.rootPem.trim());
  assert.equal(statSync(join(directory, "ca-key.pem")).mode & 0o777, 0o600);
  assert.deepEqual(installer.installedRoot(), { pem: first.rootPem, sha256s: [first.facts.rootSha256] });
  assert.deepEqual(
    readdirSync(directory).filter((name) => !name.endsWith(".pem")),
    [".mesh-relay"],
  );
});

test("install - a group mode is given to the key whatever the process's mask", async (context) => {
  const directory = temporaryDirectory(context);
  const mask = process.umask(0o077);
  context.after(() => process.umask(mask));
  await using installer = await Installer.open({ directory, clock: systemClock, keyMode: 0o640 });
  installer.install(first);
  assert.equal(statSync(join(directory, "ca-key.pem")).mode & 0o777, 0o640);
});

test("install - a renewal leaves root-cert.pem untouched, also a union of roots; another root is refused", async (context) => {
  const directory = temporaryDirectory(context);
  await using installer = await open(directory);
  installer.install(first);
  const rootFile = join(directory, "root-cert.pem");
  const inode = statSync(rootFile).ino;
  installer.install(second);
  assert.equal(statSync(rootFile).ino, inode);
  assert.deepEqual(filesIn(directory), toCaFiles(second));
  assert.throws(() => installer.install(foreign), { code: "ca_other_root" });
  const union = `${first.rootPem}\n${foreign.rootPem}`;
  writeFileSync(rootFile, union);
  installer.install(foreign);
  assert.deepEqual(filesIn(directory), { ...toCaFiles(foreign), "root-cert.pem": union });
});

test("install - a restart adopts a sound set and says why another is not adopted", async (context) => {
  const directory = temporaryDirectory(context);
  await using installer = await open(directory);
  assert.deepEqual(await installer.adopt(), { kind: "none", reason: `${directory} holds 0 of 4 files` });
  installer.install(first);
  assert.deepEqual(await installer.adopt(), { kind: "adopted", ca: first });
  writeFileSync(join(directory, "ca-key.pem"), second.keyPem);
  const mixed = await installer.adopt();
  assert.match(mixed.kind === "none" ? mixed.reason : "", /private key belongs to another certificate/);
  rmSync(join(directory, "ca-key.pem"));
  assert.deepEqual(await installer.adopt(), { kind: "none", reason: `${directory} holds 3 of 4 files` });
});

test("install - an expired set is not adopted", async (context) => {
  const directory = temporaryDirectory(context);
  await using installer = await open(directory, { ...systemClock, now: () => Date.now() + 11 * HOUR_MS });
  installer.install(first);
  const adoption = await installer.adopt();
  assert.match(adoption.kind === "none" ? adoption.reason : "", /expired at/);
});

test("install - a touch replaces ca-cert.pem by the same bytes and nothing else", async (context) => {
  const directory = temporaryDirectory(context);
  await using installer = await open(directory);
  installer.touch();
  assert.deepEqual(filesIn(directory), {});
  installer.install(first);
  const inodes = () => FILES.map((name) => statSync(join(directory, name)).ino);
  const [certificate, ...others] = inodes();
  installer.touch();
  const [certificateAfter, ...othersAfter] = inodes();
  assert.notEqual(certificateAfter, certificate);
  assert.deepEqual(othersAfter, others);
  assert.deepEqual(filesIn(directory), toCaFiles(first));
});

test("install - two istiod-agents never hold one directory; the next gets it when the first is done", async (context) => {
  const directory = temporaryDirectory(context);
  const holder = await open(directory);
  await assert.rejects(open(directory), { code: "conflict", message: /is in use by process/ });
  await holder[Symbol.asyncDispose]();
  await using next = await open(directory);
  next.install(first);
});

test("install - a directory that cannot be used is refused with what to change", async (context) => {
  const directory = temporaryDirectory(context);
  const missing = { code: "install_failed", message: /does not exist$/, hint: /emptyDir with medium Memory/ };
  await assert.rejects(open(join(directory, "missing")), missing);
  writeFileSync(join(directory, "file"), "");
  await assert.rejects(open(join(directory, "file")), { code: "install_failed", message: /is not a directory$/ });
  mkdirSync(join(directory, "tls"));
  writeFileSync(join(directory, "tls", "tls.crt"), "");
  await assert.rejects(open(join(directory, "tls")), { code: "install_failed", message: /holds tls.crt/ });
  for (const [code, text] of [
    ["EROFS", /is read-only/],
    ["ENOSPC", /is full/],
    ["EACCES", /may not be written/],
  ] as const) {
    const error = installError("/etc/cacerts", Object.assign(new Error("x"), { code }));
    assert.deepEqual([error.code, text.test(error.message), error.hint !== ""], ["install_failed", true, true]);
  }
});

const run = promisify(execFile);
const CHILD = join(import.meta.dirname, "crash.child.ts");

/** Installs `second` in a mount namespace of its own, where `directory` is a memory file system prepared by `script`. */
async function installMounted(directory: string, script: string): Promise<string> {
  const setFile = join(directory, "..", "set.json");
  writeFileSync(setFile, JSON.stringify(second), { mode: 0o600 });
  const child = `"${process.execPath}" "${CHILD}" "${directory}" "${setFile}" 0 2>&1; ls "${directory}"`;
  return (await run("unshare", ["-rm", "sh", "-c", `${script}; ${child}`])).stdout;
}

const mayMount = await run("unshare", ["-rm", "true"]).then(
  () => true,
  () => false,
);

test(
  "install - a full or read-only volume is refused and holds no part of a set",
  { skip: !mayMount },
  async (context) => {
    const directory = join(temporaryDirectory(context), "cacerts");
    mkdirSync(directory);
    const full = await installMounted(directory, `mount -t tmpfs -o size=8k tmpfs "${directory}"`);
    assert.match(full, /directory .*cacerts is full/);
    assert.doesNotMatch(full, /pem/);
    const mount = `mount -t tmpfs tmpfs "${directory}" && mount -o remount,ro "${directory}"`;
    assert.match(await installMounted(directory, mount), /directory .*cacerts is read-only/);
  },
);

/** Runs the child that dies before its n-th change; true when it died, false when it came to its end. */
async function dies(directory: string, setFile: string, killBefore: number): Promise<boolean> {
  const child = spawn(process.execPath, [CHILD, directory, setFile, String(killBefore)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
  assert.ok(code === 0 || signal === "SIGKILL", `exit ${String(code)} ${String(signal)}`);
  return signal === "SIGKILL";
}

/** As many children at once as keep the machine busy. */
const TOGETHER = 4;

/** Kills a first installation or a renewal at every change it makes, and hands each directory to `check`. */
async function crashEverywhere(
  context: TestContext,
  old: SigningCa | undefined,
  check: (directory: string) => Promise<void>,
): Promise<void> {
  const base = temporaryDirectory(context);
  const setFile = join(base, "set.json");
  writeFileSync(setFile, JSON.stringify(second), { mode: 0o600 });
  const crashAt = async (step: number): Promise<boolean> => {
    const directory = join(base, String(step));
    mkdirSync(directory);
    if (old) {
      await using installer = await open(directory);
      installer.install(old);
    }
    const died = await dies(directory, setFile, step);
    await check(directory);
    return died;
  };
  let deaths = 0;
  for (let step = 1; deaths === step - 1; step += TOGETHER) {
    assert.ok(step < 60, "the child comes to an end");
    const died = await Promise.all(Array.from({ length: TOGETHER }, (_, index) => crashAt(step + index)));
    deaths += died.filter(Boolean).length;
  }
  assert.ok(deaths >= 12, `only ${deaths} steps were killed at`);
}

test("install - killed at any step of a renewal, the next start has the old set or the new one whole", async (context) => {
  const seen = { old: 0, new: 0 };
  await crashEverywhere(context, first, async (directory) => {
    await using installer = await open(directory);
    const adoption = await installer.adopt();
    assert.equal(adoption.kind, "adopted");
    const which = filesIn(directory)["ca-key.pem"] === first.keyPem ? "old" : "new";
    seen[which] += 1;
    assert.deepEqual(filesIn(directory), toCaFiles(which === "old" ? first : second));
    assert.deepEqual(readdirSync(join(directory, ".mesh-relay")), ["lock"]);
  });
  assert.ok(seen.old > 5 && seen.new > 4, JSON.stringify(seen));
});

test("install - killed at any step of the first installation, the next start has the whole set or none", async (context) => {
  const seen = { none: 0, new: 0 };
  await crashEverywhere(context, undefined, async (directory) => {
    await using _installer = await open(directory);
    const files = filesIn(directory);
    const which = Object.keys(files).length === 0 ? "none" : "new";
    seen[which] += 1;
    assert.deepEqual(files, which === "none" ? {} : toCaFiles(second));
  });
  assert.ok(seen.none > 5 && seen.new > 5, JSON.stringify(seen));
});

test("install - a link in the place of a file is replaced and never written through", async (context) => {
  const directory = temporaryDirectory(context);
  const victim = join(temporaryDirectory(context), "victim");
  writeFileSync(victim, "precious");
  await using installer = await open(directory);
  for (const name of FILES.filter((each) => each !== "root-cert.pem")) symlinkSync(victim, join(directory, name));
  installer.install(first);
  assert.deepEqual(filesIn(directory), toCaFiles(first));
  assert.equal(readFileSync(victim, "utf8"), "precious");
});

test("adopt - a file that cannot be read is a reason to ask anew, not the end", async (context) => {
  const directory = temporaryDirectory(context);
  await using installer = await open(directory);
  installer.install(first);
  rmSync(join(directory, "ca-key.pem"));
  mkdirSync(join(directory, "ca-key.pem"));
  const found = await installer.adopt();
  assert.ok(found.kind === "none" && found.reason.startsWith(`directory ${directory} `), JSON.stringify(found));
});
