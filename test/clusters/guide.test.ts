import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { readConfig } from "../../common/runtime/config.ts";
import { guideOptions } from "../../demo/guide/config.ts";
import { findGround } from "../../demo/guide/ground.ts";
import { planWalk } from "../../demo/guide/plan.ts";
import { runShell } from "../../demo/guide/shell.ts";
import { parseSteps } from "../../demo/guide/steps.ts";
import { readSteps } from "../../demo/guide/walk.ts";
import { prepareWorkplace } from "../../demo/guide/workplace.ts";
import { runCommand } from "../harness/command.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { freePort } from "../harness/ports.ts";
import { ensureTools } from "../tools/build.ts";
import { forgetVault } from "./guide-vault.ts";
import { handedOutRoot, identityOf, verify } from "./judge.ts";
import { pairOf, removeMesh, restartWorkloads } from "./mesh.ts";
import { useClusters } from "./suite.ts";

const WALK = join(import.meta.dirname, "../../demo/guide/main.ts");

const clusters = useClusters({
  until: "bookinfo",
  // The guide sets Vaults up that are not yet, and suites before this one may have left theirs.
  setUp: async (fleet) => {
    await Promise.all(pairOf(fleet).map(forgetVault));
  },
  tearDown: removeMesh,
});

/** What the recipes speak to stands only then. */
let isWalked = false;

test(
  "guide - every step of it, in order, ends as it says, and then workloads get certificates of Vault's root",
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

    isWalked = true;
    const root = await readFile(join(work, "root-cert.pem"), "utf8");
    for (const cluster of pairOf(fleet)) {
      assert.equal(await handedOutRoot(cluster), root.trimEnd());
      await restartWorkloads(cluster);
      const { chain } = await identityOf(cluster, "productpage");
      await verify(chain, root);
    }
  },
);

test(
  "debugging - grpcurl lists, describes and calls what is served on 9900 and 9977, as docs/debugging.md prints it",
  { skip: clusters.skip, timeout: 120_000 },
  async () => {
    assert.ok(isWalked, "the guide was not walked to its end");
    await using folder = await temporaryFolder();
    const ground = await findGround(
      readConfig(guideOptions, { flags: { fleet: clusters.fleet().plan.name }, env: {} }),
    );
    const { grpcurl } = await ensureTools(["grpcurl"]);
    const programs = { ...ground.programs, grpcurl };
    const place = await prepareWorkplace(folder.file("work"), { ...ground, programs }, true);
    const run = async (name: string, port: number): Promise<string> => {
      const { text } = recipes.find((step) => step.name === name) ?? { text: "false" };
      // The printed port may be in use here.
      const placed = text
        .replaceAll(`localhost:${port}`, `localhost:${free}`)
        .replace(`${port}:${port}`, `${free}:${port}`);
      const here = placed.replaceAll(`/dev/tcp/localhost/${port}`, `/dev/tcp/localhost/${free}`);
      const lines: string[] = [];
      const onLine = (line: string): void => void lines.push(line);
      const { code, stdout } = await runShell(
        place,
        { text: here, timeoutMs: 60_000, onLine },
        new AbortController().signal,
      );
      assert.equal(code, 0, lines.join("\n"));
      return stdout;
    };
    const path = "docs/debugging.md";
    const recipes = parseSteps(await readFile(join(import.meta.dirname, "../..", path), "utf8"), path);
    const free = await freePort();
    const server = await run("grpcurl-server", 9900);
    assert.match(
      server,
      /^admin\.v1\.AdminService$[^]*rpc WatchStatus[^]*"cluster": "cluster-2"[^]*"connected": true/m,
    );
    const agent = await run("grpcurl-agent", 9977);
    assert.match(
      agent,
      /^istiod\.v1\.IstiodService$[^]*rpc GetOrder[^]*"server": "http:\/\/vault\.vault:8200"[^]*"podName"/m,
    );
  },
);
