// Run by installer.test.ts as a process of its own: installs a set and kills itself with SIGKILL before the n-th change
// of the file system. Arguments: directory, file with the set as JSON, n.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import type { SigningCa } from "../issue/signing-ca.ts";

const [, , directory = "", setFile = "", killBefore = ""] = process.argv;
let changes = 0;

for (const name of ["mkdirSync", "writeFileSync", "chmodSync", "renameSync", "rmSync"] as const) {
  const original = fs[name] as (...args: unknown[]) => unknown;
  Object.assign(fs, {
    [name]: (...args: unknown[]): unknown => {
      changes += 1;
      if (changes === Number(killBefore)) process.kill(process.pid, "SIGKILL");
      return original(...args);
    },
  });
}
syncBuiltinESMExports();

const { Installer } = await import("./installer.ts");
const { systemClock } = await import("../../common/runtime/clock.ts");
const installer = await Installer.open({ directory, clock: systemClock });
installer.install(JSON.parse(fs.readFileSync(setFile, "utf8")) as SigningCa);
await installer[Symbol.asyncDispose]();
