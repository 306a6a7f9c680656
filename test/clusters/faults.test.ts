import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import type { KeyAndCertificate } from "../harness/openssl.ts";
import { eventually } from "../harness/wait.ts";
import type { Cluster } from "./cluster.ts";
import { NAMESPACE } from "./install.ts";
import { isHeldBack, scaleIstiod, untilIstiodReady } from "./istiod.ts";
import { chainFrom, istiodPods, lives, podsOf, verify, type Pod } from "./judge.ts";
import { applyVirtualMesh, bringUpMesh, onlyFirst, removeMesh } from "./mesh.ts";
import { startSigning, type Signings } from "./signing.ts";
import { useClusters } from "./suite.ts";
import { untilBlamed, untilSettled } from "./told.ts";
import { seal, signedByVault } from "./vault.ts";

let root: KeyAndCertificate;

const clusters = useClusters({
  until: "bookinfo",
  count: 1,
  setUp: async (all) => {
    root = await bringUpMesh(onlyFirst(all));
  },
  tearDown: (all) => removeMesh(onlyFirst(all)),
});
const options = { skip: clusters.skip, timeout: 300_000 };
const patient = { timeoutMs: 120_000, intervalMs: 300 };

let ttlDays = 30;

/** Changes the VirtualMesh so that every istiod needs another intermediate. */
async function edit(): Promise<void> {
  ttlDays -= 1;
  await applyVirtualMesh(onlyFirst(clusters.fleet()), { ttlDays });
}

async function theIstiod(cluster: Cluster): Promise<Pod> {
  const [istiod] = await untilIstiodReady(cluster);
  assert.ok(istiod);
  return istiod;
}

/** Deletes the pod of a Deployment of ours and does not wait for its end. */
const deletePodOf = (cluster: Cluster, name: string): Promise<string> => {
  const selector = `app.kubernetes.io/name=${name}`;
  return cluster.kubectl(["delete", "pod", "--selector", selector, "--namespace", NAMESPACE, "--wait=false"]);
};

/** Does something to a cluster and undoes it; the VirtualMesh is edited meanwhile, where somebody can take it. */
type Fault = (cluster: Cluster, signings: Signings) => Promise<void>;

const FAULTS: Readonly<Record<string, Fault>> = {
  "the server's pod is deleted": async (cluster) => {
    await deletePodOf(cluster, "enterprise-networking");
    await edit();
  },
  "the agent's pod is deleted": async (cluster) => {
    await deletePodOf(cluster, "enterprise-agent");
    await edit();
  },
  "the kubelet is stopped for a while": async (cluster, signings) => {
    const { intermediate } = signings;
    await cluster.stop("kubelet");
    await edit();
    await signings.untilOther(intermediate);
    await edit();
    await cluster.start("kubelet");
  },
  "the API server is restarted": async (cluster, signings) => {
    await cluster.stop("kube-apiserver");
    await signings.more(5);
    await cluster.start("kube-apiserver");
    await edit();
  },
};

for (const [what, fault] of Object.entries(FAULTS)) {
  test(`faults - ${what}: istiod signs on, and what was changed meanwhile arrives`, options, async () => {
    const one = clusters.cluster(1);
    const istiod = await theIstiod(one);
    await using signings = await startSigning(one, istiod, root.certificate);
    const { intermediate } = signings;
    await fault(one, signings);
    await signings.untilOther(intermediate);
    await untilSettled(one);
    await signings.more(2);
    assert.deepEqual(lives(await istiodPods(one)), lives([istiod]), "no container of istiod's pod was restarted");
    const restarted = (await podsOf(one, NAMESPACE)).flatMap(({ status }) =>
      (status.containerStatuses ?? []).filter(({ restartCount }) => restartCount > 0),
    );
    assert.deepEqual(restarted, [], "nothing of ours had to be restarted");
  });
}

test("faults - a killed sidecar adopts the certificate that it finds, and has no other issued", options, async () => {
  const one = clusters.cluster(1);
  const istiod = await theIstiod(one);
  await using signings = await startSigning(one, istiod, root.certificate);
  const { intermediate } = signings;
  const signed = await signedByVault(one);
  const sidecar = istiod.status.containerStatuses?.find(({ name }) => name === "istiod-agent");
  await one.ctr("tasks", "kill", "--signal", "SIGKILL", (sidecar?.containerID ?? "").replace("containerd://", ""));
  const ref = { namespace: "istio-system", pod: istiod.metadata.name, container: "istiod-agent" };
  await eventually(
    "the sidecar's next container",
    async () => {
      const [pod] = await istiodPods(one);
      const next = pod?.status.containerStatuses?.find(({ name }) => name === "istiod-agent");
      return next?.restartCount === 1 && /adopted the certificate found/.test(await one.logs(ref));
    },
    patient,
  );
  assert.equal(signings.intermediate, intermediate);
  await edit();
  await signings.untilOther(intermediate);
  assert.equal(await signedByVault(one), signed + 1, "one certificate, for the edit");
  await untilSettled(one);
});

test("faults - a deleted pod of istiod is followed by one that signs below Vault's root", options, async () => {
  const one = clusters.cluster(1);
  const before = await theIstiod(one);
  await one.kubectl(["delete", "pod", before.metadata.name, "--namespace", "istio-system", "--wait=false"]);
  const after = await theIstiod(one);
  assert.notEqual(after.metadata.uid, before.metadata.uid);
  const chain = await chainFrom(one, after, root.certificate);
  await verify(chain.slice(0, -1), root.certificate);
  await untilSettled(one);
});

/** Ways in which Vault can be away until they are disposed, and the code by which that is told. */
const AWAY: Readonly<Record<string, { cause: string; take: (cluster: Cluster) => Promise<AsyncDisposable> }>> = {
  "is sealed": { cause: "vault_sealed", take: seal },
  "gets no packets": { cause: "vault_unreachable", take: (cluster) => cluster.block({ port: 8200 }) },
};

for (const [what, { cause, take }] of Object.entries(AWAY)) {
  test(`faults - while Vault ${what} a new istiod waits, both ends say why, and then it starts`, options, async () => {
    const one = clusters.cluster(1);
    const istiod = await theIstiod(one);
    {
      await using signings = await startSigning(one, istiod, root.certificate);
      const { intermediate } = signings;
      {
        await using _ = await take(one);
        await edit();
        await scaleIstiod(one, 2);
        const held = await eventually(
          "istiod held back",
          async () => (await istiodPods(one)).find(isHeldBack),
          patient,
        );
        await untilBlamed(one, [istiod, held], cause);
        await assertWaits(one, held);
        await signings.more(2);
        assert.equal(signings.intermediate, intermediate);
      }
      await signings.untilOther(intermediate);
      const pods = await untilIstiodReady(one, 2);
      for (const pod of pods) await chainFrom(one, pod, root.certificate);
      await untilSettled(one);
      await signings.more(2);
    }
    await scaleIstiod(one, 1);
    await untilIstiodReady(one, 1);
    await untilSettled(one);
  });
}

/** The init container has not given up, and has nothing to show. */
async function assertWaits(cluster: Cluster, { metadata: { name, uid } }: Pod): Promise<void> {
  const waiting = (await istiodPods(cluster)).find(({ metadata }) => metadata.uid === uid);
  assert.ok(waiting && isHeldBack(waiting));
  assert.deepEqual(
    (waiting.status.initContainerStatuses ?? []).map(({ restartCount }) => restartCount),
    [0],
  );
  const files = await readdir(await cluster.volumePath("istio-system", name, "cacerts"));
  assert.deepEqual(
    files.filter((file) => file.endsWith(".pem")),
    [],
  );
}
