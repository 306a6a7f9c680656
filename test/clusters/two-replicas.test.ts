import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeyAndCertificate } from "../harness/openssl.ts";
import { eventually } from "../harness/wait.ts";
import { ensureTools } from "../tools/build.ts";
import type { Cluster } from "./cluster.ts";
import { NAMESPACE } from "./install.ts";
import { untilIstiodReady } from "./istiod.ts";
import { chainFrom, podsOf, verify, type Pod } from "./judge.ts";
import { applyVirtualMesh, bringUpMesh, onlyFirst, removeMesh } from "./mesh.ts";
import { startSigning } from "./signing.ts";
import { useClusters } from "./suite.ts";
import { toldOf, untilSettled } from "./told.ts";

let root: KeyAndCertificate;

const clusters = useClusters({
  until: "bookinfo",
  count: 1,
  setUp: async (all) => {
    root = await bringUpMesh(onlyFirst(all), {
      server: { enterpriseNetworking: { serviceType: "ClusterIP", replicas: 2 } },
      agent: { enterpriseAgent: { replicas: 2 } },
    });
  },
  tearDown: (all) => removeMesh(onlyFirst(all)),
});
const options = { skip: clusters.skip, timeout: 300_000 };
const patient = { timeoutMs: 120_000, intervalMs: 500 };

const containerOf = ({ status: { containerStatuses = [] } }: Pod): string =>
  (containerStatuses[0]?.containerID ?? "").replace("containerd://", "");

/** The pods of a Deployment of ours, when there are two that serve. */
async function twoOf(cluster: Cluster, name: string): Promise<[Pod, Pod]> {
  return eventually(
    `two pods of ${name}`,
    async () => {
      const pods = await podsOf(cluster, NAMESPACE, `app=${name}`);
      const [one, two, ...others] = pods.filter((pod) => pod.status.containerStatuses?.every(({ ready }) => ready));
      return one && two && others.length === 0 && pods.length === 2 && [one, two];
    },
    patient,
  );
}

/** Ends the one container of a pod without a warning. */
async function kill(cluster: Cluster, pod: Pod): Promise<void> {
  await cluster.ctr("tasks", "kill", "--signal", "SIGKILL", containerOf(pod));
}

/** The one of these pods that holds a Lease, when one does. */
async function holderOf(cluster: Cluster, lease: string, pods: readonly Pod[]): Promise<Pod> {
  const path = "jsonpath={.spec.holderIdentity}";
  return eventually(
    `a holder of ${lease}`,
    async () => {
      const holder = await cluster.kubectl(["get", "lease", lease, "--namespace", NAMESPACE, "--output", path]);
      return pods.find(({ metadata }) => holder.startsWith(`${metadata.name}_`));
    },
    patient,
  );
}

interface WatchedStatus {
  readonly serverTime?: string;
  readonly virtualMeshes?: readonly {
    readonly clusters?: readonly {
      readonly connected?: boolean;
      readonly certificate?: { readonly replicas?: readonly { readonly state: string; readonly serial: string }[] };
    }[];
  }[];
}

/** What WatchStatus of one server tells first, by grpcurl on the port that only its own pod reaches. */
async function watchStatus(cluster: Cluster, server: Pod): Promise<Omit<WatchedStatus, "serverTime">> {
  const { grpcurl } = await ensureTools(["grpcurl"]);
  const tasks = await cluster.ctr("tasks", "ls");
  const pid = new RegExp(`^${containerOf(server)} +(\\d+) `, "m").exec(tasks)?.[1] ?? "";
  const call = ["-plaintext", "-max-time", "1", "127.0.0.1:11100", "admin.v1.AdminService/WatchStatus"];
  // Ends with an error, because the stream would go on.
  const script = ["-c", '"$@" 2>/dev/null || true', "sh", "nsenter", "--target", pid, "--net", "--", grpcurl, ...call];
  const text = await cluster.node.run("/bin/sh", script);
  const [first = ""] = /^\{$[^]*?^\}$/m.exec(text) ?? [];
  const { serverTime: _, ...status } = JSON.parse(first) as WatchedStatus;
  return status;
}

/** Waits until both servers tell the same, and that it is well. */
async function untilBothTell(cluster: Cluster): Promise<void> {
  const servers = await twoOf(cluster, "enterprise-networking");
  const [entry] = await toldOf(cluster);
  await eventually(
    "the same status of both servers",
    async () => {
      const [one, two] = await Promise.all(servers.map((server) => watchStatus(cluster, server)));
      assert.deepEqual(one, two);
      const [told] = one?.virtualMeshes?.[0]?.clusters ?? [];
      assert.equal(told?.connected, true);
      assert.deepEqual(
        told.certificate?.replicas?.map(({ state, serial }) => [state, serial]),
        [["CERTIFICATE_STATE_FINISHED", entry?.serial]],
      );
      return true;
    },
    patient,
  );
}

let ttlDays = 30;

for (const role of ["that leads", "that only serves"] as const) {
  test(
    `two replicas - a server ${role} is killed: what was changed just then arrives, both tell it`,
    options,
    async () => {
      const one = clusters.cluster(1);
      const [istiod] = await untilIstiodReady(one);
      assert.ok(istiod);
      await untilBothTell(one);
      await using signings = await startSigning(one, istiod, root.certificate);
      const { intermediate } = signings;
      const servers = await twoOf(one, "enterprise-networking");
      const leader = await holderOf(one, "enterprise-networking", servers);
      const victim = servers.find((server) => (server === leader) === (role === "that leads"));
      assert.ok(victim);
      await kill(one, victim);
      ttlDays -= 1;
      await applyVirtualMesh(onlyFirst(clusters.fleet()), { ttlDays });
      await signings.untilOther(intermediate);
      await untilSettled(one);
      await untilBothTell(one);
    },
  );
}

test("two replicas - the agent's leader is killed while istiod restarts, and istiod comes up", options, async () => {
  const one = clusters.cluster(1);
  const [before] = await untilIstiodReady(one);
  const leader = await holderOf(one, "enterprise-agent", await twoOf(one, "enterprise-agent"));
  const remove = (pod: Pod | undefined, namespace: string, ...how: readonly string[]) =>
    one.kubectl(["delete", "pod", pod?.metadata.name ?? "", "--namespace", namespace, "--wait=false", ...how]);
  await Promise.all([
    kill(one, leader).then(() => remove(leader, NAMESPACE, "--force", "--grace-period=0")),
    remove(before, "istio-system"),
  ]);
  const [after] = await untilIstiodReady(one);
  assert.ok(after && after.metadata.uid !== before?.metadata.uid);
  const chain = await chainFrom(one, after, root.certificate);
  await verify(chain.slice(0, -1), root.certificate);
  await holderOf(one, "enterprise-agent", await twoOf(one, "enterprise-agent"));
  await eventually(
    "the status of the new istiod alone",
    async () => {
      const told = (await toldOf(one)).map(({ podUid, state }) => [podUid, state]);
      assert.deepEqual(told, [[after.metadata.uid, "FINISHED"]]);
      return true;
    },
    patient,
  );
  await untilBothTell(one);
  await untilSettled(one);
});
