import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import type { KeyAndCertificate } from "../harness/openssl.ts";
import { findSecrets } from "../harness/secrets.ts";
import { eventually } from "../harness/wait.ts";
import { kindOf, knownSecrets } from "./known-secrets.ts";
import type { Cluster } from "./cluster.ts";
import { chainAtGateway, cross, openCrossing } from "./crossing.ts";
import { BOOKINFO } from "./images/foreign.ts";
import { untilThere } from "./install.ts";
import { installIstioWithAgent, isHeldBack, patchIstiod, untilIstiodReady } from "./istiod.ts";
import {
  chainFrom,
  handedOutRoot,
  identityOf,
  istiodPods,
  lives,
  podsOf,
  serialOf,
  verify,
  type Pod,
} from "./judge.ts";
import {
  applyVirtualMesh,
  giveVaultsOneRoot,
  installOurs,
  meshOf,
  pairOf,
  removeMesh,
  restartWorkloads,
  untilMeshReady,
} from "./mesh.ts";
import { placesOf } from "./places.ts";
import { plant } from "./planted.ts";
import { useClusters } from "./suite.ts";

let root: KeyAndCertificate;

const clusters = useClusters({
  until: "bookinfo",
  setUp: async (fleet) => {
    await openCrossing(...pairOf(fleet));
    root = await giveVaultsOneRoot(fleet);
    await installOurs(fleet);
  },
  tearDown: removeMesh,
});
const options = { skip: clusters.skip, timeout: 400_000 };
const both = (): readonly [Cluster, Cluster] => pairOf(clusters.fleet());
const patient = { timeoutMs: 180_000, intervalMs: 500 };

async function assertCrossing(near: Cluster, far: Cluster): Promise<void> {
  const answer = await eventually(`answer of ${far.name} to ${near.name}`, () => cross(near, far), patient);
  assert.match(answer, new RegExp(`"service": "reviews", "cluster": "${far.name}"`));
}

test("main job - with roots of their own no workload reaches one of the other cluster", options, async () => {
  const [one, two] = both();
  for (const [near, far] of [
    [one, two],
    [two, one],
  ] as const) {
    const chain = await eventually(`gateway of ${far.name}`, async () => {
      const shown = await chainAtGateway(far);
      return shown.length > 0 && shown;
    });
    await verify(chain, await handedOutRoot(far));
    await assert.rejects(verify(chain, await handedOutRoot(near)), /verification failed/);
    await assert.rejects(cross(near, far), /503 Service Unavailable/);
  }
});

test("main job - istiod waits in its init container until there is a VirtualMesh, then starts", options, async () => {
  const [one] = both();
  const [before] = (await istiodPods(one)) as [Pod];
  await patchIstiod(one);
  const waiting = await eventually(
    "istiod held back",
    async () => (await istiodPods(one)).find((pod) => isHeldBack(pod)),
    patient,
  );
  const init = { namespace: "istio-system", pod: waiting.metadata.name, container: "istiod-agent-init" };
  await eventually("its link", async () => (await one.logs(init)).includes("waiting for an order"), patient);
  const files = await readdir(await one.volumePath("istio-system", init.pod, "cacerts"));
  assert.deepEqual(
    files.filter((name) => name.endsWith(".pem")),
    [],
  );
  const ownRoot = await handedOutRoot(one);
  await verify((await chainFrom(one, before, ownRoot)).slice(0, -1), ownRoot);
  assert.ok(
    isHeldBack((await istiodPods(one)).find(({ metadata }) => metadata.uid === waiting.metadata.uid) ?? before),
  );

  await applyVirtualMesh(clusters.fleet());
  const [after] = (await untilIstiodReady(one)) as [Pod];
  assert.equal(after.metadata.uid, waiting.metadata.uid, "the pod that waited is the one that serves");
  assert.deepEqual(
    (after.status.initContainerStatuses ?? []).map(({ restartCount }) => restartCount),
    [0],
  );
});

test("main job - an istiod that is patched after the VirtualMesh starts as well", options, async () => {
  const [, two] = both();
  await untilThere(two, "issuedcertificate", meshOf(two));
  await installIstioWithAgent(two);
  await untilIstiodReady(two);
  await untilMeshReady(both());
});

test(
  "main job - every sidecar of both clusters has a chain to Vault's root, which istiod hands out",
  options,
  async () => {
    await Promise.all(both().map(restartWorkloads));
    for (const cluster of both()) {
      assert.equal(await handedOutRoot(cluster), root.certificate.trimEnd());
      const workloads = [...BOOKINFO.map((service) => [service, "bookinfo"] as const)];
      for (const [workload, namespace] of [...workloads, ["istio-ingressgateway", "istio-system"] as const]) {
        const { chain, roots } = await identityOf(cluster, workload, namespace);
        assert.equal(chain.length, 3, "leaf, intermediate, root");
        await verify(chain.slice(0, 2), root.certificate);
        assert.deepEqual(roots, [root.certificate.trimEnd()]);
      }
    }
  },
);

test(
  "main job - under strict mTLS workloads of each cluster reach the other's through its gateway",
  options,
  async () => {
    const [one, two] = both();
    await assertCrossing(one, two);
    await assertCrossing(two, one);
    for (const cluster of both()) await verify(await chainAtGateway(cluster), root.certificate);
  },
);

/** Serial number of the intermediate with which istiod of a cluster signs now, by asking it as a workload does. */
async function signingSerial(cluster: Cluster): Promise<string> {
  const [istiod] = (await istiodPods(cluster)) as [Pod];
  const chain = await chainFrom(cluster, istiod, root.certificate);
  await verify(chain.slice(0, -1), root.certificate);
  return serialOf(chain[1] ?? "");
}

const podsOfBoth = async (): Promise<Pod[]> => {
  const found = both().map(async (cluster) => [...(await istiodPods(cluster)), ...(await podsOf(cluster, "bookinfo"))]);
  return (await Promise.all(found)).flat();
};

test("main job - intermediates are renewed again and again under running istiods", options, async () => {
  const before = lives(await podsOfBoth());
  const seen = new Set(await Promise.all(both().map(signingSerial)));
  for (const ttlDays of [29, 28, 27]) {
    await applyVirtualMesh(clusters.fleet(), { ttlDays });
    for (const cluster of both()) {
      const serial = await eventually(
        `another intermediate of ${cluster.name}`,
        async () => {
          const now = await signingSerial(cluster);
          return !seen.has(now) && now;
        },
        patient,
      );
      seen.add(serial);
    }
  }
  assert.equal(seen.size, 2 * 4);
  for (const cluster of both()) {
    const newest = await signingSerial(cluster);
    await eventually(
      `leaf of the newest intermediate in ${cluster.name}`,
      async () => {
        const { chain } = await identityOf(cluster, "reviews");
        return (await serialOf(chain[1] ?? "")) === newest;
      },
      patient,
    );
    const kept = await readFile(`${await cacertsOf(cluster)}/ca-cert.pem`, "utf8");
    assert.equal(await serialOf(kept), newest);
  }
  const [one, two] = both();
  await assertCrossing(one, two);
  assert.deepEqual(lives(await podsOfBoth()), before, "no container was restarted");
});

async function cacertsOf(cluster: Cluster): Promise<string> {
  const [istiod] = (await istiodPods(cluster)) as [Pod];
  return cluster.volumePath("istio-system", istiod.metadata.name, "cacerts");
}

/** Private keys may stand in these alone: the relay's own, and what istiod made before it had ours. */
const KEYS_ALLOWED = /^\/registry\/secrets\/(?:gloo-mesh\/relay-|istio-system\/istio-ca-secret$)/;

test("main job - no key, Vault token or requested token is outside of memory on any cluster", options, async () => {
  for (const cluster of both()) {
    const secrets = await knownSecrets(cluster);
    const kinds = Object.values(secrets).map(kindOf);
    // Four intermediates, a login for each, and at least the token for the agent and that for the proof.
    for (const [kind, least] of [
      ["key", 4],
      ["vault token", 4],
      ["service account token", 3],
    ] as const) {
      assert.ok(kinds.filter((each) => each === kind).length >= least, `${kind}: ${kinds.join(", ")}`);
    }
    await using planted = await plant(cluster);
    const found = findSecrets({ ...secrets, ...planted.secrets }, await placesOf(cluster));
    for (const place of planted.places)
      assert.ok(
        found.some((each) => place.test(each)),
        `${place} in ${found.join("; ")}`,
      );
    assert.deepEqual(
      found.filter((each) => !each.startsWith("planted ")),
      [],
    );
  }
});

test(
  "main job - what is stored holds no private key but the relay's own and that of an istiod before",
  options,
  async () => {
    for (const cluster of both()) {
      const stored = await cluster.dumpEtcd();
      const keys = stored.filter(({ value }) => value.includes("PRIVATE KEY-----")).map(({ key }) => key);
      assert.deepEqual(
        keys.filter((key) => !KEYS_ALLOWED.test(key)),
        [],
      );
      assert.ok(
        keys.some((key) => key.endsWith("/relay-client-tls-secret")),
        "the search sees those that are allowed",
      );
    }
  },
);
