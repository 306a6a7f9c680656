import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { handshake, type Party } from "../../demo/handshake.ts";
import { API_SERVER_TOOLS } from "../harness/api-server.ts";
import { ISTIOD_TOOLS } from "../harness/istiod.ts";
import { skipWithout } from "../harness/needs.ts";
import { OPENSSL_TOOLS, opensslVerify } from "../harness/openssl.ts";
import { findSecrets } from "../harness/secrets.ts";
import { vaultTools } from "../harness/vault.ts";
import { eventually } from "../harness/wait.ts";
import { RealMesh, type RealCluster, type Workload } from "./real-mesh.ts";

const skip = skipWithout([...API_SERVER_TOOLS, ...ISTIOD_TOOLS, ...vaultTools(), ...OPENSSL_TOOLS]);

/** Serial number of the intermediate that signed what istiod hands out now, as the status prints serials. */
async function signingSerial(cluster: RealCluster): Promise<string> {
  const { chain } = await cluster.workloadChain("productpage");
  return printedSerial(new X509Certificate(chain[1] ?? "").serialNumber);
}

const printedSerial = (hex: string): string => (hex.toLowerCase().match(/../g) ?? []).join(":");

const party = ({ chain, key }: Workload): Party => ({
  leaf: { key, cert: chain.slice(0, -1).join("\n") },
  rootPem: chain.at(-1) ?? "",
});

test(
  "real main job - one VirtualMesh in, both istiods sign under Vault's root, and go on through a renewal",
  { skip },
  async () => {
    await using mesh = await RealMesh.start();
    const [one, two] = mesh.clusters as [RealCluster, RealCluster];
    const rootPem = mesh.root.certificatePem.trimEnd();

    // Until there is a VirtualMesh the init containers neither leave nor write.
    for (const cluster of mesh.clusters) {
      await cluster.untilLinked();
      assert.ok(cluster.init.running, await cluster.init.log());
      assert.deepEqual(await cluster.cacerts(), {});
    }

    await mesh.applyVirtualMesh();
    const istiods = await Promise.all(mesh.clusters.map((cluster) => cluster.startPod()));
    await mesh.untilProved("both istiods proved");

    const workloads = await Promise.all([one.workloadChain("reviews"), two.workloadChain("ratings")]);
    for (const { chain } of workloads) {
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
    const [reviews, ratings] = workloads.map(party) as [Party, Party];
    assert.equal((await handshake(reviews, ratings)).clientSaw, "spiffe://cluster.local/ns/bookinfo/sa/ratings");
    assert.equal((await handshake(ratings, reviews)).clientSaw, "spiffe://cluster.local/ns/bookinfo/sa/reviews");

    // A shorter life is a changed order: the intermediate is renewed under a running istiod.
    const before = await Promise.all(mesh.clusters.map(signingSerial));
    const firstKeys = await Promise.all(mesh.clusters.map(async (cluster) => (await cluster.cacerts())["ca-key.pem"]));
    const roots = await Promise.all(mesh.clusters.map(async (cluster) => (await cluster.cacerts())["root-cert.pem"]));
    const shorter = "shared:\n      intermediateCertOptions:\n        ttlDays: 20";
    await mesh.applyVirtualMesh((yaml) => yaml.replace("shared:", shorter));
    const { virtualMeshes } = await mesh.untilProved("both renewed intermediates proved", ({ certificate }) => {
      const serial = certificate?.replicas[0]?.serial;
      return serial !== undefined && !before.includes(serial);
    });
    const after = await Promise.all(mesh.clusters.map(signingSerial));
    const told = virtualMeshes[0]?.clusters.map(({ certificate }) => certificate?.replicas[0]?.serial);
    assert.deepEqual(after, told, "FINISHED is said of the intermediate that signs");
    for (const [index, cluster] of mesh.clusters.entries()) {
      assert.equal((await cluster.cacerts())["root-cert.pem"], roots[index], "the root's bytes are untouched");
      assert.ok(istiods[index]?.process.running, "istiod was not restarted");
    }
    const serverTexts = await mesh.serverTexts();
    for (const [index, cluster] of mesh.clusters.entries()) {
      const secrets = { ...(await cluster.secrets()), "first ca-key.pem": firstKeys[index] ?? "" };
      assert.deepEqual(findSecrets(secrets, { ...serverTexts, ...(await cluster.places()) }), []);
    }
  },
);
