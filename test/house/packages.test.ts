import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { buildPrograms } from "../../scripts/build.ts";
import { withStubs } from "../../scripts/lock-stubs.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { read, REPOSITORY } from "./sources.ts";

interface LockPackage {
  readonly version?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly optional?: boolean;
}

interface Manifest {
  /** A list of `{type}` is the old form. */
  readonly license?: string | readonly { readonly type: string }[];
}

/** What may ship: permissive licences alone. */
const ALLOWED = new Set([
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "ISC",
  "MIT",
  "PSF-2.0",
  "Public Domain",
  "Unlicense",
]);

async function lockedPackages(): Promise<Record<string, LockPackage>> {
  return (JSON.parse(await read("package-lock.json")) as { packages: Record<string, LockPackage> }).packages;
}

function licencesOf({ license = "none" }: Manifest): string[] {
  if (typeof license !== "string") return license.map(({ type }) => type);
  return license.replace(/[()]/g, "").split(/ (?:AND|OR) /);
}

test("house - every package that ships has a licence that lets it", async () => {
  const shipping = Object.entries(await lockedPackages()).filter(
    ([path, { dev, devOptional }]) => path !== "" && !dev && !devOptional,
  );
  assert.ok(shipping.length > 50, `${shipping.length} packages`);
  const bad: string[] = [];
  for (const [path, { optional }] of shipping) {
    // A package for another platform is not here to look at, and not shipped from here either.
    if (optional && !existsSync(`${REPOSITORY}/${path}`)) continue;
    const licences = licencesOf(JSON.parse(await read(`${path}/package.json`)) as Manifest);
    if (!licences.every((licence) => ALLOWED.has(licence))) bad.push(`${path}: ${licences.join(", ")}`);
  }
  assert.deepEqual(bad, []);
});

test("house - docs/dependencies.md has each package of package.json with its licence", async () => {
  const { dependencies, devDependencies } = JSON.parse(await read("package.json")) as Record<
    "dependencies" | "devDependencies",
    Record<string, string>
  >;
  const text = await read("docs/dependencies.md");
  const rows = [...text.matchAll(/^\| `([^`]+)` +\| ([^|]+?) +\|/gm)].map(([, name = "", licence]) => [name, licence]);
  const names = [...Object.keys(dependencies), ...Object.keys(devDependencies)];
  const expected = await Promise.all(
    names.map(async (name) => [
      name,
      (JSON.parse(await read(`node_modules/${name}/package.json`)) as Manifest).license,
    ]),
  );
  assert.deepEqual(Object.fromEntries(rows), Object.fromEntries(expected));
  const [shipping = "", building = ""] = text.split("## What builds and tests");
  for (const name of Object.keys(dependencies)) assert.ok(shipping.includes(`\`${name}\` `), name);
  for (const name of Object.keys(devDependencies)) assert.ok(building.includes(`\`${name}\` `), name);
});

test("house - the lock file has an entry for every platform's package (else: npm run lock:fix)", async () => {
  const lock = JSON.parse(await read("package-lock.json")) as Parameters<typeof withStubs>[0];
  assert.deepEqual(withStubs(lock), lock);
});

test("house - the istiod-agent's bundle holds no kubernetes client, and no bundle holds a test", async () => {
  await using folder = await temporaryFolder();
  const { outputs } = await buildPrograms(folder.path);
  const inside = (program: string): string[] => {
    const [, output] = Object.entries(outputs).find(([path]) => path.endsWith(`/${program}.js`)) ?? [];
    assert.ok(output, program);
    return Object.keys(output.inputs);
  };
  const istiodAgent = inside("istiod-agent");
  assert.ok(istiodAgent.some((path) => path.includes("node_modules/node-vault/")));
  assert.deepEqual(
    istiodAgent.filter((path) => /node_modules\/(?:@kubernetes|undici)\//.test(path)),
    [],
  );
  for (const program of ["enterprise-networking", "enterprise-agent", "istiod-agent", "meshctl"]) {
    assert.deepEqual(
      inside(program).filter((path) => /^(?:test|demo|bench|dev-vault)\//.test(path)),
      [],
      program,
    );
  }
});
