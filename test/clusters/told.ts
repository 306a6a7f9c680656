/** What the objects tell of a mesh: the IssuedCertificate in its cluster, the VirtualMesh where the server lives. */
import assert from "node:assert/strict";
import { eventually } from "../harness/wait.ts";
import type { Cluster } from "./cluster.ts";
import { NAMESPACE } from "./install.ts";
import type { Pod } from "./judge.ts";
import { meshOf } from "./mesh.ts";

/** What a cluster tells of one istiod pod. */
export interface Told {
  readonly podUid: string;
  readonly podName: string;
  readonly connected?: boolean;
  readonly state: string;
  readonly serial?: string;
  readonly evidence?: string;
  readonly error?: { readonly code: string; readonly message: string };
}

/** What the status of a cluster's IssuedCertificate tells of each istiod pod. */
export async function toldOf(cluster: Cluster): Promise<readonly Told[]> {
  const args = ["issuedcertificate", meshOf(cluster), "--namespace", NAMESPACE];
  const { status } = await cluster.get<{ status?: { replicas?: readonly Told[] } }>(...args);
  return status?.replicas ?? [];
}

interface VirtualMeshObject {
  readonly metadata: { readonly generation: number };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly errors?: readonly string[];
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
  };
}

const virtualMesh = (server: Cluster): Promise<VirtualMeshObject> =>
  server.get<VirtualMeshObject>("virtualmesh", "virtual-mesh", "--namespace", NAMESPACE);

/** Faults that the VirtualMesh tells of. */
export const faultsTold = async (server: Cluster): Promise<readonly string[]> =>
  (await virtualMesh(server)).status?.errors ?? [];

const patient = { timeoutMs: 120_000, intervalMs: 300 };

/** Waits until the VirtualMesh as it is now is told to be proved everywhere, without a fault. */
export async function untilSettled(server: Cluster): Promise<void> {
  await eventually(
    "a virtual mesh that is proved",
    async () => {
      const { metadata, status } = await virtualMesh(server);
      const ready = status?.conditions?.find(({ type }) => type === "Ready");
      assert.equal(status?.observedGeneration, metadata.generation);
      assert.deepEqual([ready?.status, ready?.reason, status.errors ?? []], ["True", "Proved", []]);
      return true;
    },
    patient,
  );
}

/** Waits until both ends tell that these pods have no certificate for this cause. */
export async function untilBlamed(cluster: Cluster, pods: readonly Pod[], cause: string): Promise<void> {
  await eventually(
    `${cause} told of ${pods.length} pods`,
    async () => {
      const [told, faults] = await Promise.all([toldOf(cluster), faultsTold(cluster)]);
      for (const { metadata } of pods) {
        const entry = told.find(({ podUid }) => podUid === metadata.uid);
        assert.deepEqual([entry?.state, entry?.error?.code], ["FAILED", cause]);
        assert.ok(
          faults.some((fault) => fault.includes(`${metadata.name}: ${cause}`)),
          faults.join("; "),
        );
      }
      return true;
    },
    patient,
  );
}
