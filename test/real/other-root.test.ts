import assert from "node:assert/strict";
import { test } from "node:test";
import type { VirtualMeshStatus } from "../../common/api/virtual-mesh.ts";
import { createVaultRoot } from "../../demo/vault-setup.ts";
import { API_SERVER_TOOLS } from "../harness/api-server.ts";
import { ISTIOD_TOOLS } from "../harness/istiod.ts";
import { skipWithout } from "../harness/needs.ts";
import { OPENSSL_TOOLS } from "../harness/openssl.ts";
import { vaultTools } from "../harness/vault.ts";
import { RealMesh } from "./real-mesh.ts";

const skip = skipWithout([...API_SERVER_TOOLS, ...ISTIOD_TOOLS, ...vaultTools(), ...OPENSSL_TOOLS]);

test(
  "real other root - a cluster whose Vault has another root is named with both, and its mesh is not ACCEPTED",
  { skip },
  async () => {
    const stranger = await createVaultRoot("another-org", { type: "ec", curve: "P-256" }, Date.now());
    await using mesh = await RealMesh.start({
      rootOf: async (cluster, shared) => (cluster === "cluster-2" ? stranger : shared),
    });
    await mesh.applyVirtualMesh();
    // The files are complete in both clusters: no istiod is needed to see that their roots differ.
    for (const { init } of mesh.clusters) assert.equal((await init.exited).code, 0, await init.log());
    const { virtualMeshes } = await mesh.status("told", (view) =>
      /"OtherRoot"/.test(JSON.stringify(view.virtualMeshes[0]?.status)),
    );
    const status = virtualMeshes[0]?.status as VirtualMeshStatus;
    const roots = virtualMeshes[0]?.clusters.map(({ certificate }) =>
      certificate?.replicas[0]?.rootSha256.toString("hex"),
    );
    const sharedRoot = status.conditions?.find(({ type }) => type === "SharedRoot");
    assert.equal(sharedRoot?.status, "False");
    assert.equal(new Set(roots).size, 2);
    for (const root of roots ?? []) assert.ok(sharedRoot.message.includes(root ?? "no root"), sharedRoot.message);
    const states = Object.values(status.meshes ?? {}).map(({ state }) => state);
    assert.deepEqual(states.sort(), ["ACCEPTED", "FAILED"]);
  },
);
