import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import * as z from "zod";
import { defineOptions, didYouMean, envOf, flagOf, readConfig } from "./config.ts";
import { MeshError } from "./errors.ts";
import { durationMs, listenAddress } from "./settings.ts";

const options = defineOptions({
  cluster: { path: "relay.cluster", help: "name", argument: "NAME", schema: z.string().min(1) },
  listen: { path: "relay.listen", help: "where", argument: "HOST:PORT", schema: listenAddress.default("0.0.0.0:9900") },
  pollMs: {
    path: "source.pollInterval",
    help: "how often",
    argument: "DURATION",
    schema: durationMs.prefault("500ms"),
  },
  names: {
    path: "relay.names",
    help: "names",
    argument: "NAME",
    repeated: true,
    schema: z.array(z.string()).default([]),
  },
});

function yamlFile(t: TestContext, text: string): string {
  const directory = mkdtempSync(join(tmpdir(), "mesh-relay-config-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "config.yaml");
  writeFileSync(file, text);
  return file;
}

function faultsOf(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof MeshError);
    assert.equal(error.code, "config_invalid");
    return error.message;
  }
  assert.fail("the configuration was accepted");
}

test("config - flags win over the environment, the environment over the file, the file over defaults", (t) => {
  const file = yamlFile(t, "relay:\n  cluster: from-file\n  listen: 127.0.0.1:1\nsource:\n  pollInterval: 2s\n");
  const env = {
    MESH_RELAY_RELAY_CLUSTER: "from-env",
    MESH_RELAY_RELAY_LISTEN: "127.0.0.1:2",
    MESH_RELAY_RELAY_NAMES: "a,b",
  };
  const config = readConfig(options, { flags: { listen: "127.0.0.1:3" }, env, file });
  assert.deepEqual(config, { cluster: "from-env", listen: "127.0.0.1:3", pollMs: 2000, names: ["a", "b"] });
  assert.equal(readConfig(options, { flags: { cluster: "c" }, env: {} }).pollMs, 500);
});

test("config - all faults are reported together, each with its key and its place", (t) => {
  const file = yamlFile(
    t,
    "relay:\n  clustre: x\n  listen: nowhere\nsource:\n  pollInterval: soon\n  pollInterval2: 1s\nother: 1\n",
  );
  const message = faultsOf(() => readConfig(options, { flags: {}, env: {}, file }));
  for (const part of [
    `relay.clustre: unknown key (${file}:2); did you mean relay.cluster?`,
    `relay.listen: must be host:port, got "nowhere" (${file}:3)`,
    `source.pollInterval: must be a duration such as 30s, 5m or 24h, got "soon" (${file}:5)`,
    `other: unknown key (${file}:7)`,
    "relay.cluster: is required (--relay-cluster, $MESH_RELAY_RELAY_CLUSTER or the file)",
  ]) {
    assert.ok(message.includes(part), `${part}\nis missing in\n${message}`);
  }
});

test("config - a file that is no yaml, no map, or not there is refused with its name", (t) => {
  const broken = yamlFile(t, "relay: [\n");
  assert.match(
    faultsOf(() => readConfig(options, { flags: {}, env: {}, file: broken })),
    /^configuration is invalid:\n {2}[^\n]*config\.yaml:2: flow sequence [^\n]* end with a \]$/,
  );
  const list = yamlFile(t, "- 1\n");
  assert.match(
    faultsOf(() => readConfig(options, { flags: { cluster: "c" }, env: {}, file: list })),
    /must be a map/,
  );
  assert.match(
    faultsOf(() => readConfig(options, { flags: { cluster: "c" }, env: {}, file: "/nowhere.yaml" })),
    /ENOENT/,
  );
});

test("config - names of flags and variables follow from the path", () => {
  assert.equal(flagOf(options.pollMs), "--source-poll-interval");
  assert.equal(envOf(options.pollMs), "MESH_RELAY_SOURCE_POLL_INTERVAL");
});

test("config - a name within two edits is suggested, others are not", () => {
  assert.equal(didYouMean("relay.clster", ["relay.cluster", "other"]), "; did you mean relay.cluster?");
  assert.equal(didYouMean("something", ["relay.cluster"]), "");
});

test("config - what is wrong with settings together is told beside what is wrong with each", () => {
  const check = ({ cluster }: { readonly cluster: unknown }): string[] =>
    cluster === undefined ? ["relay.cluster: is required here"] : [];
  const read = (flags: object) => () => readConfig(options, { flags: { ...flags }, env: {} }, check);
  const both = faultsOf(read({ listen: "nowhere" }));
  assert.match(both, /relay\.listen: must be host:port, got "nowhere".*\n.*relay\.cluster: is required here/);
});
