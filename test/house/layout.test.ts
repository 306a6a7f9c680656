import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { runCommand } from "../harness/command.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { FOLDERS, isTest, REPOSITORY, type Source, typescriptSources } from "./sources.ts";

interface Cruise {
  readonly summary: {
    readonly totalCruised: number;
    readonly violations: readonly { readonly from: string; readonly to: string; readonly rule: { name: string } }[];
  };
}

async function cruise(cwd: string, folders: readonly string[]): Promise<Cruise["summary"]> {
  const command = join(REPOSITORY, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");
  const args = ["--config", ".dependency-cruiser.cjs", "--output-type", "json", ...folders];
  return (JSON.parse(await runCommand(process.execPath, [command, ...args], { cwd })) as Cruise).summary;
}

test("house - rooms import what the dependency rule lets them, and nothing runs in circles", async () => {
  const folders = FOLDERS.filter((folder) => existsSync(join(REPOSITORY, folder)));
  const { totalCruised, violations } = await cruise(REPOSITORY, folders);
  assert.deepEqual(
    violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`),
    [],
  );
  // A cruiser that cannot read TypeScript reports no violation in no module.
  assert.ok(totalCruised > 100, `${totalCruised} modules`);
});

/** One file for each kind of rule, by the rule that it breaks. */
const BREACHES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "room-server": { "server/a.ts": `import { b } from "../agent/b.ts";\nexport const a = b;\n` },
  "common-imports-proto-only": { "common/api/c.ts": `import { b } from "../../agent/b.ts";\nexport const c = b;\n` },
  "nobody-imports-the-outer-rooms": { "cli/d.ts": `import { t } from "../test/t.ts";\nexport const d = t;\n` },
  "door-grpc": { "cli/e.ts": `import { Server } from "@grpc/grpc-js";\nexport const e = Server;\n` },
  "no-value-cycles": {
    "cli/f.ts": `import { g } from "./g.ts";\nexport const f = () => g;\n`,
    "cli/g.ts": `import { f } from "./f.ts";\nexport const g = () => f;\n`,
  },
};

test("house - the dependency rule refuses each kind of breach", async () => {
  await using folder = await temporaryFolder();
  for (const file of [".dependency-cruiser.cjs", "tsconfig.json", "package.json"]) {
    await cp(join(REPOSITORY, file), folder.file(file));
  }
  await symlink(join(REPOSITORY, "node_modules"), folder.file("node_modules"));
  const fine = { "agent/b.ts": "export const b = 1;\n", "test/t.ts": "export const t = 1;\n" };
  const files = Object.assign({}, fine, ...Object.values(BREACHES)) as Record<string, string>;
  for (const [path, text] of Object.entries(files)) {
    await mkdir(folder.file(path, ".."), { recursive: true });
    await writeFile(folder.file(path), text);
  }
  const { violations } = await cruise(folder.path, ["common", "server", "agent", "cli", "test"]);
  for (const [rule, breach] of Object.entries(BREACHES)) {
    const found = violations.filter(({ rule: { name } }) => name === rule).map(({ from }) => from);
    assert.ok(
      found.some((path) => path in breach),
      `${rule} found no breach in ${Object.keys(breach).join(", ")}`,
    );
  }
});

test("house - no file outgrows its cap: 300 lines, tests 500", async () => {
  const tooLong = (await typescriptSources()).flatMap((source) => {
    const lines = source.text.split("\n").length - 1;
    return lines > (isTest(source) ? 500 : 300) ? [`${source.path}: ${lines}`] : [];
  });
  assert.deepEqual(tooLong, []);
});

/** Places of a pattern, as "path:line". */
function placesOf(pattern: RegExp, all: readonly Source[]): string[] {
  return all.flatMap(({ path, text }) =>
    text.split("\n").flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}`] : [])),
  );
}

test("house - nothing is waved through: no any, no silenced check, no work left over", async () => {
  const waved = ["@ts-", "eslint-", "prettier-"].map((tool) => `${tool}(?:ignore|expect-error|nocheck|disable)`);
  const leftOver = ["TO" + "DO", "FIX" + "ME", "X" + "XX"].map((word) => `\\b${word}\\b`);
  const any = ["(?::|\\bas|<|\\|) any\\b", "<any\\b"];
  const pattern = new RegExp([...waved, ...leftOver, ...any].join("|"));
  const code = (await typescriptSources()).map(({ path, text }) => ({ path, text: withoutProse(text) }));
  assert.deepEqual(placesOf(pattern, code), []);
});

/** Takes strings, and the prose of comments but not its commands to tools, out of a text; lines stay where they are. */
function withoutProse(text: string): string {
  return text
    .replace(/"(?:[^"\\\n]|\\.)*"|`[^`\n]*`/g, '""')
    .replace(/\/\*\*[^]*?\*\//g, (c) => c.replace(/ any /g, " "));
}

test("house - the environment is read, and the process is ended, each at one door", async () => {
  const rooms = (await typescriptSources()).filter(
    (source) => !isTest(source) && !/^(?:bench|demo|scripts)\//.test(source.path),
  );
  assert.ok(rooms.length > 50);
  const fileOf = (place: string): string => place.split(":", 1)[0] ?? "";
  const files = (pattern: RegExp): string[] => [...new Set(placesOf(pattern, rooms).map(fileOf))];
  assert.deepEqual(files(/\bprocess\.env\b/), ["common/runtime/config.ts"]);
  assert.deepEqual(files(/\bprocess\.(?:exit\(|exitCode|on\(|once\()/), ["common/runtime/process.ts"]);
});
