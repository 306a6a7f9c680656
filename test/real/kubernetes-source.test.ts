import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { VirtualMeshStatus } from "../../common/api/virtual-mesh.ts";
import { Dialer } from "../../common/session/client.ts";
import { AdminServiceService, type WatchStatusResponse } from "../../proto/gen/admin/v1/admin.ts";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { temporaryFolder, type TemporaryFolder } from "../harness/folder.ts";
import { skipWithout } from "../harness/needs.ts";
import { freePort } from "../harness/ports.ts";
import { startProcess } from "../harness/process.ts";
import { eventually } from "../harness/wait.ts";
import { serverKubeconfig } from "./server-account.ts";

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const VIRTUAL_MESH = ["virtualmesh/virtual-mesh", "--namespace", "gloo-mesh"] as const;

async function startServer(folder: TemporaryFolder, kubeconfig: string) {
  const local = async (): Promise<string> => `127.0.0.1:${await freePort()}`;
  const [relay, enrollment, admin, monitor] = [await local(), await local(), await local(), await local()];
  const process_ = await startProcess({
    name: "enterprise-networking",
    command: process.execPath,
    args: [
      ...[path("server/main.ts"), "--kubernetes-kubeconfig", kubeconfig, "--admin-socket", folder.file("admin.sock")],
      ...["--relay-listen", relay, "--enrollment-listen", enrollment],
      ...["--admin-listen", admin, "--monitor-listen", monitor],
    ],
    logFile: folder.file("server.log"),
    ready: async () => (await fetch(`http://${monitor}/livez`)).ok,
  });
  const dialer = new Dialer({ address: `unix:${folder.file("admin.sock")}`, peer: "admin socket" });
  return {
    readyz: () => fetch(`http://${monitor}/readyz`),
    log: () => process_.log(),
    /** The state of the one VirtualMesh, as the admin API tells it. */
    async untilTold(state: string): Promise<WatchStatusResponse> {
      const signal = AbortSignal.timeout(60_000);
      const request = { virtualMesh: undefined, cluster: "", inParts: false };
      for await (const told of dialer.serverStream(AdminServiceService.watchStatus, request, signal)) {
        if (told.virtualMeshes[0]?.status?.["state"] === state) return told;
      }
      throw new Error(`never told ${state}`);
    },
    async intentDigest(cluster: string): Promise<string> {
      const call = { signal: AbortSignal.timeout(10_000), timeoutMs: 10_000 };
      const { wantedDigest } = await dialer.unary(AdminServiceService.getIntent, { cluster }, call);
      return wantedDigest.toString("hex");
    },
    async [Symbol.asyncDispose]() {
      dialer.close();
      await process_.stop();
    },
  };
}

interface Stored {
  readonly metadata: { readonly generation: number; readonly managedFields: readonly { manager: string }[] };
  readonly status: VirtualMeshStatus;
}

async function stored(api: ApiServer): Promise<Stored> {
  return JSON.parse(await api.kubectl(["get", ...VIRTUAL_MESH, "-o", "json", "--show-managed-fields"])) as Stored;
}

const conditionOf = ({ status }: Stored, type: string) => status.conditions?.find((each) => each.type === type);

const untilAccepted = (api: ApiServer, value: "True" | "False") =>
  api.kubectl(["wait", `--for=condition=Accepted=${value}`, ...VIRTUAL_MESH, "--timeout=60s"]);

const KEPT = /generation 1 stays in force/;

test(
  "real kubernetes source - the guide's VirtualMesh by kubectl: judged, told, mended, kept through restarts and deletion",
  { skip: skipWithout(API_SERVER_TOOLS) },
  async () => {
    await using folder = await temporaryFolder();
    await using api = await startApiServer();
    const kubeconfig = await serverKubeconfig(api, folder);

    // Started before the CRDs are there: it waits for them.
    await using server = await startServer(folder, kubeconfig);
    assert.equal((await server.readyz()).status, 503);
    await api.kubectl(["apply", "-f", path("deploy/crds")]);
    await api.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
    await eventually("ready", async () => (await server.readyz()).ok);

    await api.kubectl(["apply", "-f", path("examples")]);
    await untilAccepted(api, "True");
    const first = await stored(api);
    assert.deepEqual([first.status.state, first.status.observedGeneration], ["ACCEPTED", 1]);
    assert.deepEqual(
      Object.entries(first.status.meshes ?? {}).map(([key, { state }]) => [key, state]),
      [1, 2].map((number) => [`istiod-istio-system-cluster-${number}.gloo-mesh.`, "ACCEPTED"]),
    );
    assert.match(conditionOf(first, "Ready")?.message ?? "", /^0 of 2 meshes issued/);
    assert.ok(first.metadata.managedFields.some(({ manager }) => manager === "enterprise-networking"));
    const digest = await server.intentDigest("cluster-1");

    // It fits the schema, and is no sound intent: the last good one stays.
    const sound = await readFile(path("examples/virtual-mesh.yaml"), "utf8");
    await api.kubectl(["apply", "-f", "-"], sound.replace("pki/root/", "pki/../root/"));
    await untilAccepted(api, "False");
    const refused = await stored(api);
    assert.deepEqual([refused.status.state, refused.status.observedGeneration], ["INVALID", 2]);
    assert.match(refused.status.errors?.join() ?? "", /vault\.caPath: /);
    assert.match(conditionOf(refused, "Accepted")?.message ?? "", KEPT);
    assert.equal(await server.intentDigest("cluster-1"), digest);

    const log = await server.log();
    assert.ok(!log.includes("forbidden"), log);
    // An API server that has just started knows no role for a moment, and refuses what it grants later.
    await api.restart();
    await api.kubectl(["apply", "-f", path("examples")]);
    await untilAccepted(api, "True");
    const mended = await stored(api);
    assert.deepEqual([mended.status.state, mended.status.observedGeneration], ["ACCEPTED", 3]);
    assert.equal(await server.intentDigest("cluster-1"), digest);

    // Gone is absent, and absence removes nothing; made again it is told anew.
    await api.kubectl(["delete", ...VIRTUAL_MESH]);
    const missing = await server.untilTold("FAILED");
    assert.match(JSON.stringify(missing.virtualMeshes[0]?.status), /missing from its source/);
    assert.equal(await server.intentDigest("cluster-1"), digest);
    await api.kubectl(["apply", "-f", path("examples")]);
    await untilAccepted(api, "True");
    assert.deepEqual((await stored(api)).status.observedGeneration, 1);
  },
);
