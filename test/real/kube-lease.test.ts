import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { API_SERVER_TOOLS, startApiServer } from "../harness/api-server.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { skipWithout } from "../harness/needs.ts";
import { startProcess, type RunningProcess } from "../harness/process.ts";
import { eventually } from "../harness/wait.ts";

const CANDIDATE = fileURLToPath(new URL("lease-candidate.ts", import.meta.url));

interface Lease {
  readonly metadata: { readonly labels?: object };
  readonly spec: { readonly holderIdentity: string; readonly leaseTransitions: number; readonly renewTime: string };
}

test(
  "real lease - one of two leads; stopped or killed, the other takes over; cut off from the store, it stops leading",
  { skip: skipWithout(API_SERVER_TOOLS) },
  async () => {
    await using folder = await temporaryFolder();
    await using api = await startApiServer();
    await api.kubectl(["create", "namespace", "gloo-mesh"]);
    const start = (identity: string): Promise<RunningProcess> =>
      startProcess({
        name: `candidate ${identity}`,
        command: process.execPath,
        args: [CANDIDATE, api.kubeconfig, identity],
        logFile: folder.file(`${identity}.log`),
      });
    const says = (candidate: RunningProcess, line: string) =>
      eventually(`${candidate.name} ${line}`, async () => (await candidate.log()).split("\n").includes(line));
    const get = async () =>
      JSON.parse(
        await api.kubectl(["get", "lease", "enterprise-networking", "-n", "gloo-mesh", "-o", "json"]),
      ) as Lease;

    await using first = await start("a");
    await says(first, "leads 0");
    await using second = await start("b");
    const { renewTime } = (await get()).spec;
    await api.kubectl(["label", "lease", "enterprise-networking", "-n", "gloo-mesh", "team=mesh"]);
    await eventually("a renews", async () => (await get()).spec.renewTime > renewTime);
    assert.equal(await second.log(), "");

    await first.stop();
    await says(first, "stops 0");
    await says(second, "leads 1");
    await using third = await start("c");

    second.kill("SIGKILL");
    const killedMs = performance.now();
    await says(third, "leads 2");
    // It may have been renewed just before, and is respected for as long as its holder asked for.
    assert.ok(performance.now() - killedMs > 1_500);
    const { metadata, spec } = await get();
    assert.deepEqual([metadata.labels, spec.holderIdentity, spec.leaseTransitions], [{ team: "mesh" }, "c", 2]);

    await api.restart();
    await api.processes[0]?.stop();
    await says(third, "stops 2");
    await third.stop();
  },
);
