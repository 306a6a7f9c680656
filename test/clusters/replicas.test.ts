import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeyAndCertificate } from "../harness/openssl.ts";
import { eventually } from "../harness/wait.ts";
import type { Cluster } from "./cluster.ts";
import { helm, installServer, NAMESPACE, untilThere } from "./install.ts";
import { installIstioWithAgent, scaleIstiod, untilIstiodReady } from "./istiod.ts";
import { chainFrom, istiodPods, serialOf, verify, type Pod } from "./judge.ts";
import {
  applyVirtualMesh,
  giveVaultsOneRoot,
  installOurs,
  meshOf,
  pairOf,
  removeMesh,
  untilMeshReady,
} from "./mesh.ts";
import { useClusters } from "./suite.ts";

let root: KeyAndCertificate;

const clusters = useClusters({
  until: "bookinfo",
  setUp: async (fleet) => {
    root = await giveVaultsOneRoot(fleet);
    await installOurs(fleet);
    await applyVirtualMesh(fleet);
    for (const cluster of fleet.clusters) await installIstioWithAgent(cluster);
    await untilMeshReady(pairOf(fleet));
  },
  tearDown: removeMesh,
});
const options = { skip: clusters.skip, timeout: 400_000 };
const both = (): readonly [Cluster, Cluster] => pairOf(clusters.fleet());
const patient = { timeoutMs: 180_000, intervalMs: 500 };

/** Serial number of the intermediate that this istiod signs with, which must be below Vault's root. */
async function signingSerial(cluster: Cluster, istiod: Pod): Promise<string> {
  const chain = await chainFrom(cluster, istiod, root.certificate);
  await verify(chain.slice(0, -1), root.certificate);
  return serialOf(chain[1] ?? "");
}

interface IssuedCertificate {
  readonly status: { readonly replicas?: readonly { readonly podUid: string; readonly serial?: string }[] };
}

/** What the status of a cluster's IssuedCertificate tells: serials, as openssl prints them, by the pods' UIDs. */
async function told(cluster: Cluster): Promise<Record<string, string>> {
  const args = ["issuedcertificate", meshOf(cluster), "--namespace", NAMESPACE];
  const { status } = await cluster.get<IssuedCertificate>(...args);
  const serials = (status.replicas ?? []).map(({ podUid, serial = "" }) => [podUid, serial.replaceAll(":", "")]);
  return Object.fromEntries(serials.map(([uid, serial]) => [uid, serial?.toUpperCase()])) as Record<string, string>;
}

async function untilTold(cluster: Cluster, expected: Readonly<Record<string, string>>): Promise<void> {
  let last: Record<string, string> = {};
  const same = async (): Promise<boolean> => {
    last = await told(cluster);
    assert.deepEqual(last, expected);
    return true;
  };
  await eventually(`the status of ${cluster.name}`, same, patient).catch(() => assert.deepEqual(last, expected));
}

/** Deletes istiod's pod, as a node that fails would, and waits for another one that signs below Vault's root. */
async function assertRestarts(cluster: Cluster): Promise<void> {
  const [before] = (await istiodPods(cluster)) as [Pod];
  const serial = await signingSerial(cluster, before);
  await cluster.kubectl(["delete", "pod", before.metadata.name, "--namespace", "istio-system"], { timeoutMs: 120_000 });
  const [after] = (await untilIstiodReady(cluster)) as [Pod];
  assert.notEqual(after.metadata.uid, before.metadata.uid);
  assert.notEqual(await signingSerial(cluster, after), serial, "a new pod has a new intermediate");
}

test(
  "replicas - each istiod has an intermediate of its own, both are told, one removed is forgotten",
  options,
  async () => {
    const [one] = both();
    await scaleIstiod(one, 2);
    const pods = await untilIstiodReady(one, 2);
    const serials = await Promise.all(
      pods.map(async (pod): Promise<[string, string]> => [pod.metadata.uid, await signingSerial(one, pod)]),
    );
    assert.equal(new Set(serials.map(([, serial]) => serial)).size, 2);
    await untilTold(one, Object.fromEntries(serials));
    await scaleIstiod(one, 1);
    const [left] = (await untilIstiodReady(one, 1)) as [Pod];
    await untilTold(one, { [left.metadata.uid]: Object.fromEntries(serials)[left.metadata.uid] ?? "" });
  },
);

test("detached - a mesh taken out of its VirtualMesh keeps an istiod that can restart", options, async () => {
  const [one, two] = both();
  await applyVirtualMesh(clusters.fleet(), { meshes: [two] });
  const path = "jsonpath={.metadata.annotations.relay\\.mesh\\.gloo\\.solo\\.io/held}";
  const held = ["get", "issuedcertificate", meshOf(one), "--namespace", NAMESPACE, "--output", path];
  await eventually("the release", async () => (await one.kubectl(held)) === "released", patient);
  await assertRestarts(one);
});

test("detached - the VirtualMesh is deleted: the mesh is Detached, and its istiod can restart", options, async () => {
  const [one, two] = both();
  await one.kubectl(["delete", "virtualmesh", "virtual-mesh", "--namespace", NAMESPACE]);
  const wait = ["wait", "--for=condition=Detached", `mesh/${meshOf(two)}`, "--namespace", NAMESPACE];
  await one.kubectl([...wait, "--timeout=120s"], { timeoutMs: 125_000 });
  await assertRestarts(two);
});

test("detached - the management cluster is restored empty, and istiods can restart", options, async () => {
  const [server] = both();
  await helm(server, ["uninstall", "enterprise-networking"]);
  const where = ["--namespace", NAMESPACE, "--ignore-not-found"];
  await server.kubectl(["delete", "virtualmesh,mesh,kubernetescluster", "--all", ...where]);
  const secrets = ["root-tls", "root-key", "tls-signing", "server-tls"].map((name) => `relay-${name}-secret`);
  await server.kubectl(["delete", "secret", ...secrets, ...where]);
  await installServer(server);
  for (const cluster of both()) {
    await assertRestarts(cluster);
    await untilThere(cluster, "issuedcertificate", meshOf(cluster));
  }
});
