import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { silentLog } from "../../common/runtime/log.ts";
import { StateDirectory } from "../../common/runtime/state-directory.ts";
import { nameOf } from "../../common/session/resource-set.ts";
import { IntentBook } from "../relay/intent-book.ts";
import { Reconciler } from "./reconciler.ts";
import { intentOfFiles } from "./snapshot.ts";

const EXAMPLES = new URL("../../examples/", import.meta.url);
const FILES = ["mesh-cluster-1", "mesh-cluster-2", "kubernetes-cluster-1", "kubernetes-cluster-2", "virtual-mesh"];

function scratchDirectory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "mesh-relay-reconciler-"));
  t.after(() => rmSync(path, { recursive: true }));
  return join(path, "state");
}

/** The examples, with the VirtualMesh changed by `edit`. */
function sources(edit: (yaml: string) => string = (yaml) => yaml) {
  const files = FILES.map((name) => {
    const text = readFileSync(new URL(`${name}.yaml`, EXAMPLES), "utf8");
    return { file: `${name}.yaml`, sha256: name, text: name === "virtual-mesh" ? edit(text) : text };
  });
  return intentOfFiles({ files, faults: [] });
}

const without = (cluster: string) => (yaml: string) =>
  yaml.replace(new RegExp(` {2}- name: istiod-istio-system-${cluster}\n {4}namespace: gloo-mesh\n?`), "");

const removedFrom = (intents: IntentBook, cluster: string): string[] =>
  [...intents.get(cluster).removals].map((key) => nameOf(key).name);

async function open(path: string) {
  const directory = await StateDirectory.open(path, { program: "enterprise-networking" });
  const intents = new IntentBook();
  const reconciler = await Reconciler.open({ directory, intents, log: silentLog });
  return { directory, intents, reconciler };
}

test("reconciler - removals that no agent has acknowledged outlive further edits and a restart", async (t) => {
  const path = scratchDirectory(t);
  const first = await open(path);
  await first.reconciler.reconcile(sources());
  await first.reconciler.reconcile(sources(without("cluster-2")));
  await first.reconciler.reconcile(sources((yaml) => without("cluster-2")(yaml).replace("pki/root", "pki2/root")));
  assert.deepEqual(removedFrom(first.intents, "cluster-2"), ["istiod-istio-system-cluster-2"]);
  await first.directory.close();

  const second = await open(path);
  assert.deepEqual(removedFrom(second.intents, "cluster-2"), ["istiod-istio-system-cluster-2"]);
  assert.equal(second.intents.get("cluster-1").resources.size, 1);
  await second.reconciler.reconcile(sources());
  assert.deepEqual(removedFrom(second.intents, "cluster-2"), [], "what is wanted again is not removed");
  await second.directory.close();
});

test("reconciler - what an agent has acknowledged is forgotten for good", async (t) => {
  const path = scratchDirectory(t);
  const first = await open(path);
  await first.reconciler.reconcile(sources());
  await first.reconciler.reconcile(sources(without("cluster-2")));
  first.intents.forgetRemovals("cluster-2", first.intents.get("cluster-2").removals);
  await first.reconciler.forgetAcknowledged("cluster-2");
  await first.directory.close();
  const second = await open(path);
  assert.deepEqual(removedFrom(second.intents, "cluster-2"), []);
  await second.directory.close();
});

test("reconciler - the last good intent is in force before any source was read", async (t) => {
  const path = scratchDirectory(t);
  const first = await open(path);
  await first.reconciler.reconcile(sources());
  const wanted = first.intents.get("cluster-1").resources;
  await first.reconciler.reconcile(intentOfFiles({ files: [], faults: [] }));
  assert.deepEqual(first.intents.get("cluster-1").resources, wanted, "an emptied source removes nothing");
  await first.directory.close();
  const second = await open(path);
  assert.deepEqual(second.intents.get("cluster-1").resources, wanted);
  assert.equal(second.reconciler.reconciled.value, undefined);
  await second.directory.close();
});

test("reconciler - a cluster may have a name that every object has", async (t) => {
  const path = scratchDirectory(t);
  const renamed = (edit?: (yaml: string) => string) => {
    const files = FILES.map((name) => {
      const text = readFileSync(new URL(`${name}.yaml`, EXAMPLES), "utf8").replaceAll("cluster-2", "constructor");
      return { file: `${name}.yaml`, sha256: name, text: edit && name === "virtual-mesh" ? edit(text) : text };
    });
    return intentOfFiles({ files, faults: [] });
  };
  for (const edit of [undefined, without("constructor")]) {
    const { directory, intents, reconciler } = await open(path);
    await reconciler.reconcile(renamed(edit));
    await reconciler.forgetAcknowledged("constructor");
    assert.equal(intents.get("constructor").resources.size, edit ? 0 : 1);
    assert.equal(intents.get("constructor").removals.size, edit ? 1 : 0);
    await directory.close();
  }
});

test("reconciler - text that breaks before its namespace is a fault of the VirtualMesh in force, not of another", async (t) => {
  const { directory, reconciler } = await open(scratchDirectory(t));
  await reconciler.reconcile(sources());
  await reconciler.reconcile(sources(() => "kind: VirtualMesh\nmetadata:\n  name: virtual-mesh\n  : [\n"));
  const verdicts = reconciler.reconciled.value?.verdicts;
  assert.deepEqual([...(verdicts?.keys() ?? [])], ["gloo-mesh/virtual-mesh"]);
  const verdict = verdicts?.get("gloo-mesh/virtual-mesh");
  assert.ok(verdict);
  assert.equal(verdict.outcome, "refused");
  assert.match(verdict.errors.join(), /virtual-mesh\.yaml:5:1: flow sequence/);
  await directory.close();
});
