import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { runCommand } from "../harness/command.ts";
import { temporaryFolder } from "../harness/folder.ts";

/** A compiler that writes the file after `-o`, then ends as told. */
const goThatEnds = (code: number): string => `#!/bin/sh
while [ "$1" != "-o" ]; do shift; done
echo built > "$2"
echo "undefined: someName" >&2
exit ${code}
`;

/** A machine that has only these programs, and a cache of its own. */
async function machineWith(programs: Readonly<Record<string, string>>) {
  const folder = await temporaryFolder();
  for (const [name, text] of Object.entries(programs)) await writeFileAtomic(folder.file("bin", name), text, 0o700);
  const env = { PATH: folder.file("bin"), KUBEBUILDER_ASSETS: "", XDG_CACHE_HOME: folder.file("cache") };
  const command = join(import.meta.dirname, "build.ts");
  return {
    cache: folder.file("cache", "mesh-relay", "tools"),
    get: (...args: string[]) => runCommand(process.execPath, [command, ...args], { env }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

test("tools - a program of the machine is taken, under any of its names", async () => {
  await using machine = await machineWith({ bao: "#!/bin/sh\n" });
  assert.match(await machine.get("vault"), /bin\/bao$/m);
});

test("tools - what is missing and cannot be built is named", async () => {
  await using machine = await machineWith({});
  await assert.rejects(machine.get("vault", "etcd"), /neither on the path nor built: vault, etcd; building needs go/);
});

test("tools - a program is built once and found again", async () => {
  await using machine = await machineWith({ go: goThatEnds(0) });
  const [, path = ""] = (await machine.get("vault-plugin-auth-kubernetes")).trim().split(/\s+/);
  assert.equal(await readFile(path, "utf8"), "built\n");
  assert.match(path, /\/kubernetes$/);
  assert.equal((await machine.get("--list", "vault-plugin-auth-kubernetes")).trim().split(/\s+/)[1], path);
});

test("tools - a failed build is told in the compiler's words and leaves nothing that looks built", async () => {
  await using machine = await machineWith({ go: goThatEnds(1) });
  await assert.rejects(machine.get("etcd"), /etcd cannot be built: undefined: someName/);
  const left = await readdir(machine.cache, { recursive: true, withFileTypes: true });
  assert.deepEqual(
    left.filter((entry) => entry.isFile()),
    [],
  );
});
