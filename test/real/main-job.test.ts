import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { API_SERVER_TOOLS } from "../harness/api-server.ts";
import { ISTIOD_TOOLS } from "../harness/istiod.ts";
import { skipWithout } from "../harness/needs.ts";
import { OPENSSL_TOOLS, opensslVerify } from "../harness/openssl.ts";
import { vaultTools } from "../harness/vault.ts";
import { eventually } from "../harness/wait.ts";
import { RealMesh, type RealCluster } from "./real-mesh.ts";

const skip = skipWithout([...API_SERVER_TOOLS, ...ISTIOD_TOOLS, ...vaultTools(), ...OPENSSL_TOOLS]);

const bareRoot = (pem: string): string => pem.trimEnd();

/** Serial number of the intermediate that signed what istiod hands out now. */
async function signingSerial(cluster: RealCluster): Promise<string> {
  const { chain } = await cluster.workloadChain("productpage");
  return new X509Certificate(chain[1] ?? "").serialNumber;
}

test(
  "real main job - one VirtualMesh in, both istiods sign under Vault's root, and go on through a renewal",
  { skip },
  async () => {
    await using mesh = await RealMesh.start();
    const [one, two] = mesh.clusters as [RealCluster, RealCluster];
    const rootPem = bareRoot(mesh.root.certificatePem);

    // Until there is a VirtualMesh the init containers neither leave nor write.
    for (const cluster of mesh.clusters) {
      await cluster.untilLinked();
      assert.ok(cluster.init.running, await cluster.init.log());
      assert.deepEqual(await cluster.cacerts(), {});
    }

    await mesh.applyVirtualMesh();
    const istiods = await Promise.all(mesh.clusters.map((cluster) => cluster.startPod()));
    await mesh.untilProved("both istiods proved");

    const leaves = await Promise.all([one.workloadChain("reviews"), two.workloadChain("ratings")]);
    for (const { chain } of leaves) {
      await opensslVerify(chain.slice(0, -1), rootPem);
      assert.equal(chain.at(-1), rootPem, "the root that istiod hands out is Vault's, byte for byte");
    }
    for (const cluster of mesh.clusters) {
      const path = "jsonpath={.data.root-cert\\.pem}";
      const handedOut = await eventually(`istio-ca-root-cert of ${cluster.name}`, () =>
        cluster.api.kubectl(["get", "configmap", "istio-ca-root-cert", "-n", "bookinfo", "-o", path]),
      );
      assert.equal(handedOut, rootPem);
    }

    // A shorter life is a changed order: the intermediate is renewed under a running istiod.
    const before = await Promise.all(mesh.clusters.map(signingSerial));
    const roots = await Promise.all(mesh.clusters.map(async (cluster) => (await cluster.cacerts())["root-cert.pem"]));
    await mesh.applyVirtualMesh((yaml) =>
      yaml.replace("shared:", "shared:\n      intermediateCertOptions:\n        ttlDays: 20"),
    );
    await mesh.untilProved("both renewed intermediates proved", ({ certificate }) => {
      const serial = certificate?.replicas[0]?.serial.replaceAll(":", "").toUpperCase();
      return serial !== undefined && !before.includes(serial);
    });
    const after = await Promise.all(mesh.clusters.map(signingSerial));
    for (const [index, cluster] of mesh.clusters.entries()) {
      assert.notEqual(after[index], before[index], `${cluster.name} signs with the new intermediate`);
      assert.equal((await cluster.cacerts())["root-cert.pem"], roots[index], "the root's bytes are untouched");
      assert.ok(istiods[index]?.process.running, "istiod was not restarted");
    }
  },
);
