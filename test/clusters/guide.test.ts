import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { planWalk } from "../../demo/guide/plan.ts";
import { readSteps } from "../../demo/guide/walk.ts";
import { runCommand } from "../harness/command.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { eventually } from "../harness/wait.ts";
import { forgetVault } from "./guide-vault.ts";
import { handedOutRoot, identityOf, verify } from "./judge.ts";
import { pairOf, removeMesh } from "./mesh.ts";
import { useClusters } from "./suite.ts";

const WALK = join(import.meta.dirname, "../../demo/guide/main.ts");

const clusters = useClusters({
  until: "bookinfo",
  tearDown: async (fleet) => {
    await removeMesh(fleet);
    for (const cluster of pairOf(fleet)) await forgetVault(cluster);
  },
});

test(
  "guide - every step of it, in order, ends as it says, and then every workload has a certificate of Vault's root",
  { skip: clusters.skip, timeout: 900_000 },
  async () => {
    const fleet = clusters.fleet();
    await using folder = await temporaryFolder();
    const work = folder.file("work");
    const args = [WALK, "--yes", "--json", "--fleet", fleet.plan.name, "--work-dir", work];
    const env = { KUBECONFIG: "", MESH_RELAY_CONTEXT_1: "", MESH_RELAY_CONTEXT_2: "" };
    const output = await runCommand(process.execPath, args, { env, timeoutMs: 850_000 });
    const { steps } = JSON.parse(output) as { steps: readonly { step: string }[] };
    const planned = planWalk(await readSteps(), { tab: "standard" }, { vaultManifest: "x" });
    assert.deepEqual(
      steps.map(({ step }) => step),
      planned.map(({ name }) => name),
    );

    const root = await readFile(join(work, "root-cert.pem"), "utf8");
    for (const cluster of pairOf(fleet)) {
      assert.equal(await handedOutRoot(cluster), root.trimEnd());
      // The VirtualMesh has pods restarted whose certificates end in the old root: in time every one has the new root's.
      await eventually(
        `a certificate of Vault's root for productpage of ${cluster.name}`,
        async () => {
          const { chain } = await identityOf(cluster, "deploy/productpage-v1");
          await verify(chain, root);
          return true;
        },
        { timeoutMs: 240_000, intervalMs: 2000 },
      );
    }
  },
);
