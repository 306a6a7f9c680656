import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { status } from "@grpc/grpc-js";
import { Command } from "commander";
import { agentOptions } from "../../agent/config.ts";
import { registerAgentMetrics, relayClientObserver } from "../../agent/metrics.ts";
import { meshctlCommands } from "../../cli/commands.ts";
import type { Option } from "../../common/runtime/config.ts";
import { ERROR_CODES, MeshError } from "../../common/runtime/errors.ts";
import { createRegistry, Registry } from "../../common/runtime/metrics.ts";
import { EXIT } from "../../common/runtime/process.ts";
import { toStatus } from "../../common/session/status.ts";
import { istiodAgentOptions } from "../../istiod-agent/config.ts";
import { attemptCounter, registerKeeperMetrics } from "../../istiod-agent/keeper/health.ts";
import { withSettings } from "../../scripts/docs.ts";
import { serverOptions } from "../../server/config.ts";
import { registerServerMetrics } from "../../server/metrics.ts";
import { callCounter, registerAgentCounts, registerPkiMetrics, relayObserver } from "../../server/relay-metrics.ts";
import { parseResources } from "../../common/api/parse.ts";
import { checkSpec } from "../../server/intent/spec-checks.ts";
import type { VirtualMesh } from "../../common/api/virtual-mesh.ts";
import { rowsOf, section, unquoted } from "./markdown.ts";
import { read, REPOSITORY, sources } from "./sources.ts";

test("docs - errors.md lists the codes that there are, each with what to do", async () => {
  const listed = rowsOf(await read("docs/errors.md"))
    .filter((cells) => cells.length === 3 && cells[0]?.startsWith("`"))
    .map(([code, , advice]) => ({ code: unquoted(code), advice: advice ?? "" }));
  assert.deepEqual(listed.map(({ code }) => code).sort(), Object.keys(ERROR_CODES).sort());
  for (const { code, advice } of listed) assert.ok(advice.length > 10, `${code}: ${advice}`);
});

test("docs - errors.md tells each code's gRPC status", async () => {
  const rows = rowsOf(section(await read("docs/errors.md"), "## As gRPC statuses")).slice(1);
  const told = new Map(
    rows.flatMap(([grpc, codes = ""]) =>
      [...codes.matchAll(/`(\w+)`/g)].map(([, code = ""]) => [code, unquoted(grpc)] as const),
    ),
  );
  for (const code of Object.keys(ERROR_CODES) as (keyof typeof ERROR_CODES)[]) {
    assert.equal(told.get(code) ?? "INTERNAL", status[toStatus(new MeshError(code, "x")).code], code);
  }
});

test("docs - programs.md has every setting of every program as the code has it (else: node scripts/docs.ts)", async () => {
  const text = await read("docs/programs.md");
  const [written, made] = [text.split("\n"), (await withSettings(text)).split("\n")];
  assert.deepEqual(
    made.filter((line) => !written.includes(line)),
    [],
  );
  assert.equal(made.length, written.length);
  assert.equal([...text.matchAll(/<!-- settings: /g)].length, 5);
});

test("docs - programs.md has the exit codes that there are", async () => {
  const rows = rowsOf(section(await read("docs/programs.md"), "## Exit codes")).slice(1);
  assert.deepEqual(Object.fromEntries(rows.map(([code, name]) => [unquoted(name), Number(code)])), { ...EXIT });
});

/** Commands of meshctl by name, each with its long flags. */
function commandsOfMeshctl(): Map<string, string[]> {
  const root = new Command("meshctl");
  for (const each of meshctlCommands) each.register(root, "meshctl");
  const found = new Map<string, string[]>();
  const visit = (command: Command, name: string): void => {
    if (command.commands.length === 0) found.set(name, command.options.map(({ long }) => long ?? "").sort());
    for (const sub of command.commands) visit(sub, `${name} ${sub.name()}`);
  };
  visit(root, "meshctl");
  return found;
}

test("docs - programs.md has every command of meshctl with its flags", async () => {
  const text = section(await read("docs/programs.md"), "## meshctl");
  const commands = commandsOfMeshctl();
  const documented = [...text.matchAll(/^### (meshctl .*)$/gm)].map(([, name = ""]) => name);
  assert.deepEqual(documented.toSorted(), [...commands.keys()].sort());
  const flagsIn = (part: string): string[] =>
    rowsOf(part)
      .slice(1)
      .map(([flag]) => unquoted(flag).split(" ", 1)[0] ?? "");
  const [connection = ""] = /<!-- common flags -->([^]*?)<!-- end -->/.exec(text) ?? [];
  const everywhere = ["--config", "--validate", "--log-level"];
  for (const [name, flags] of commands) {
    const own = flagsIn(section(`\n${text}`, `### ${name}`));
    const asksServer = flags.includes("--server");
    // Where two clusters take part, the management cluster's flags have names of their own.
    const replaced = own.includes("--mgmt-context") ? ["--kubeconfig", "--kubecontext", "--namespace"] : [];
    const common = flagsIn(connection).filter((flag) => !replaced.includes(flag));
    const expected = [...everywhere, ...own, ...(asksServer ? common : [])];
    assert.deepEqual(expected.sort(), flags, name);
  }
});

/** All metrics of our own, of all programs. */
function ownMetrics(): Registry {
  const registry = new Registry();
  // Metrics are read at a scrape, and nobody scrapes here.
  registerServerMetrics(registry, {} as Parameters<typeof registerServerMetrics>[1]);
  registerAgentCounts(registry, {} as Parameters<typeof registerAgentCounts>[1]);
  registerPkiMetrics(registry, {} as Parameters<typeof registerPkiMetrics>[1]);
  relayObserver(registry);
  callCounter(registry);
  registerAgentMetrics(registry, {} as Parameters<typeof registerAgentMetrics>[1]);
  relayClientObserver(registry);
  registerKeeperMetrics({ registry } as Parameters<typeof registerKeeperMetrics>[0]);
  attemptCounter(registry);
  return registry;
}

test("docs - the alerts of metrics.md are of metrics that there are, with labels that they have", async () => {
  const text = section(await read("docs/metrics.md"), "## Alerts worth having");
  const expressions = [...text.matchAll(/^ +expr: (.+)$/gm)].map(([, expression = ""]) => expression);
  assert.ok(expressions.length > 5);
  const registered = [...createRegistry().getMetricsAsArray(), ...ownMetrics().getMetricsAsArray()];
  const labelsOf = new Map(
    registered.map((metric) => {
      const { name, labelNames } = metric as unknown as { name: string; labelNames?: string[] };
      return [name, labelNames ?? []];
    }),
  );
  for (const expression of expressions) {
    const used = [...expression.matchAll(/\b((?:mesh_relay|istiod_agent|nodejs|process)_\w+)(?:\{([^}]*)\})?/g)];
    assert.ok(used.length > 0, expression);
    for (const [, name = "", selector = ""] of used) {
      const labels = labelsOf.get(name) ?? labelsOf.get(name.replace(/_(?:bucket|sum|count)$/, ""));
      assert.ok(labels, `${expression}: there is no ${name}`);
      for (const [, label = ""] of selector.matchAll(/(\w+)[!=]/g)) {
        assert.ok([...labels, "job"].includes(label), `${expression}: ${name} has no label ${label}`);
      }
    }
  }
});

test("docs - metrics.md has the metrics that are registered, with type, labels and meaning", async () => {
  const registered = ownMetrics()
    .getMetricsAsArray()
    .map((metric) => {
      const { name, type, labelNames } = metric as unknown as { name: string; type: string; labelNames: string[] };
      return [name, type, labelNames.join(", ") || "–"].join(" ");
    });
  const documented = rowsOf(await read("docs/metrics.md"))
    .filter(([name]) => /^`(?:mesh_relay|istiod_agent)_/.test(name ?? ""))
    .map(([name, type, labels]) => [name, type, labels].map(unquoted).join(" "));
  assert.deepEqual(documented.sort(), registered.sort());
});

test("docs - virtual-mesh.md has the conditions that a status can have", async () => {
  const text = await read("docs/virtual-mesh.md");
  // An Event has a type, too.
  const events = "server/status/events.ts";
  const ofMesh = ["server/status/mesh-part.ts", "server/discovery/plan.ts"];
  const madeBy = async (globs: string[], without: string[] = []): Promise<string[]> => {
    const files = (await sources(globs)).filter(({ path }) => !path.endsWith(".test.ts") && !without.includes(path));
    const types = files.flatMap(({ text: code }) => [...code.matchAll(/\btype: "([A-Z]\w+)"/g)]);
    return [...new Set(types.map(([, type = ""]) => type))].sort();
  };
  const told = (title: string): string[] => {
    const rows = rowsOf(section(text, title));
    const start = rows.findIndex(([head]) => head === "condition");
    const length = rows.slice(start).findIndex(([head]) => head === "stage");
    const table = rows.slice(start + 1, length < 0 ? undefined : start + length);
    return table.flatMap(([cell = ""]) => cell.split(", ").map(unquoted)).sort();
  };
  assert.deepEqual(told("## Status"), await madeBy(["server/{status,intent}/*.ts"], [events, ...ofMesh]));
  assert.deepEqual(told("## Mesh and KubernetesCluster"), await madeBy(ofMesh));
});

test("docs - the README's table of ports has every port that a program listens on by default", async () => {
  const programs = [serverOptions, agentOptions, istiodAgentOptions].flatMap((options) =>
    Object.values<Option>(options),
  );
  const listeners = programs.filter(({ path }) => path.endsWith(".listen"));
  const ports = listeners.map(({ schema }) => String(schema.parse(undefined)).split(":").at(-1));
  const rows = rowsOf(section(await read("README.md"), "## Ports")).slice(1);
  const told = rows.map(([port]) => unquoted(port)).filter((port) => /^\d+$/.test(port));
  assert.deepEqual(told.toSorted(), [...new Set(ports)].sort());
});

test("docs - logs.md names fields and messages that the programs log", async () => {
  const rooms = await sources(["{common,server,agent,istiod-agent}/**/*.ts"]);
  const code = rooms
    .filter(({ path }) => !path.endsWith(".test.ts"))
    .map(({ text }) => text)
    .join("\n");
  const rows = rowsOf(await read("docs/logs.md")).filter(([first]) => first?.startsWith("`"));
  assert.ok(rows.length > 20);
  for (const [cell = ""] of rows) {
    for (const [, quoted = ""] of cell.matchAll(/`([^`]+)`/g)) {
      const name = quoted.replace(/^err\./, "");
      const builtIn = ["time", "level", "msg"].includes(name);
      assert.ok(builtIn || new RegExp(`\\b${name}\\b`).test(code), `nothing logs ${quoted}`);
    }
  }
});

test("docs - every VirtualMesh that is shown is accepted by schema and checks", async () => {
  const documents = await sources(["*.md", "docs/*.md", "examples/virtual-mesh.yaml"]);
  const shown = documents.flatMap(({ path, text }) =>
    path.endsWith(".yaml") ? [{ path, yaml: text }] : yamlIn(text).map((yaml) => ({ path, yaml })),
  );
  const meshes = shown.filter(({ yaml }) => /^kind: VirtualMesh$/m.test(yaml));
  assert.ok(meshes.length >= 3, `${meshes.length} VirtualMeshes found`);
  for (const { path, yaml } of meshes) {
    const { resources, problems } = parseResources(yaml, path);
    assert.deepEqual(problems, [], path);
    for (const { resource } of resources) assert.deepEqual(checkSpec((resource as VirtualMesh).spec), [], path);
  }
});

/** Texts of YAML in a document: its own blocks, and here-documents of its shell blocks. */
function yamlIn(markdown: string): string[] {
  const blocks = [...markdown.matchAll(/^```ya?ml\n([^]*?)^```$/gm)].map(([, body = ""]) => body);
  const hereDocuments = [...markdown.matchAll(/<<'EOF'\n([^]*?)^EOF$/gm)].map(([, body = ""]) => body);
  return [...blocks, ...hereDocuments];
}

test("docs - every relative link leads somewhere, to its heading too", async () => {
  const documents = await sources(["*.md", "{docs,dev-vault,test,examples,bench,deploy}/**/*.md"]);
  const broken = documents.flatMap(({ path, text }) =>
    [...text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].flatMap(([, link = ""]) => {
      const [file = "", anchor] = link.split("#");
      const target = file === "" ? path : join(dirname(path), file);
      if (!existsSync(join(REPOSITORY, target))) return [`${path}: ${link}`];
      const other = documents.find((document) => document.path === target);
      return anchor && other && !anchorsOf(other.text).includes(anchor) ? [`${path}: ${link}`] : [];
    }),
  );
  assert.deepEqual(broken, []);
});

/** Anchors that a renderer makes of headings. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

test("docs - every npm script that is named exists, and CI runs the README's test command", async () => {
  const { scripts } = JSON.parse(await read("package.json")) as { scripts: Record<string, string> };
  const documents = await sources(["*.md", "docs/*.md", ".ci/run"]);
  const named = documents.flatMap(({ text }) => [...text.matchAll(/npm run ([a-z:]+)/g)].map(([, name = ""]) => name));
  assert.deepEqual(
    [...new Set(named)].filter((name) => !(name in scripts)),
    [],
  );
  const readme = await read("README.md");
  for (const command of ["npm ci && npm run demo", "npm ci && npm test"]) assert.ok(readme.includes(command), command);
  assert.match(
    await read(".ci/run"),
    /^npm ci$[^]*^npm run generate$[^]*git diff --exit-code -- proto\/gen[^]*^npm test$/m,
  );
});

test("docs - every command of meshctl that a document or a hint names exists", async () => {
  const names = [...commandsOfMeshctl().keys()];
  const groups = names.map((name) => name.split(" ")).flatMap(([, group, sub]) => (sub === undefined ? [] : [group]));
  const command = new RegExp(`meshctl\\s(?:${groups.join("|")})\\s[a-z-]+`, "g");
  const files = await sources(["*.md", "{docs,deploy}/**/*.md", "{common,server,agent,istiod-agent,cli}/**/*.ts"]);
  const named = files.flatMap(({ text }) => [...text.matchAll(command)].map(([words]) => words.replaceAll("\n", " ")));
  assert.ok(named.length > 50, `${named.length} found`);
  assert.deepEqual(
    [...new Set(named)].filter((words) => !names.includes(words)),
    [],
  );
});
