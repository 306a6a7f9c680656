/**
 * Adds a stub entry to package-lock.json for every per-platform optional package that the registry did not offer when
 * the lock was written. Without them `npm ci` refuses the lock ("Missing: … from lock file"); with them npm skips what
 * does not fit this platform. `npm install` strips them again, so `npm run lock:fix` follows every change of the lock.
 */
import { readFileSync, writeFileSync } from "node:fs";

interface LockPackage {
  version?: string;
  optionalDependencies?: Record<string, string>;
  [field: string]: unknown;
}

const OS = /-(darwin|linux|win32|freebsd|openbsd|android|sunos|aix)(?:-|$)/;
const CPU_NAMES: Readonly<Record<string, string>> = { aarch64: "arm64", armv7: "arm" };

/** Returns the lock with a stub for each optional dependency that lacks an entry; never touches an existing entry. */
export function withStubs(lock: { packages: Record<string, LockPackage> }): typeof lock {
  const packages = { ...lock.packages };
  for (const { optionalDependencies = {} } of Object.values(lock.packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      const cpu = name.split("-").at(-1) ?? "";
      packages[`node_modules/${name}`] ??= {
        version,
        os: [OS.exec(name)?.[1] ?? "none"],
        cpu: [CPU_NAMES[cpu] ?? cpu],
        dev: true,
        optional: true,
      };
    }
  }
  return { ...lock, packages: Object.fromEntries(Object.entries(packages).sort(([a], [b]) => (a < b ? -1 : 1))) };
}

if (import.meta.main) {
  const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as { packages: Record<string, LockPackage> };
  writeFileSync("package-lock.json", `${JSON.stringify(withStubs(lock), null, 2)}\n`);
}
