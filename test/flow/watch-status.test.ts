import assert from "node:assert/strict";
import { test } from "node:test";
import { watchStatus } from "../../cli/watch-status.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { Dialer } from "../../common/session/client.ts";
import { methodTable, startGrpcServer } from "../../common/session/server.ts";
import { AdminServiceService, VirtualMeshStatus, type WatchStatusResponse } from "../../proto/gen/admin/v1/admin.ts";
import { adminService, type AdminDeps, type MeshesStatus } from "../../server/admin/services.ts";
import { adminReadMethods } from "../../server/identity/methods.ts";

/** Of so many clusters, told for the `generation`th time. */
function statusOf(clusters: number, generation: number): MeshesStatus {
  const rows = Array.from({ length: clusters }, (_, index) => ({ cluster: `cluster-${index}-${"x".repeat(200)}` }));
  const virtualMesh = VirtualMeshStatus.fromPartial({
    name: { name: "vm", namespace: "gloo-mesh" },
    status: { observedGeneration: generation },
    clusters: rows,
  });
  return { virtualMeshes: [virtualMesh], sourceProblems: [] };
}

const nextTurn = (): Promise<boolean> => new Promise((resolve) => setImmediate(() => resolve(false)));

const generationOf = ({ virtualMeshes }: WatchStatusResponse): unknown =>
  virtualMeshes[0]?.status?.["observedGeneration"];

/** A server that tells of `statuses` by `clock`, and a client that watches. */
async function watchWorld(statuses: Latest<MeshesStatus>, clock: ManualClock) {
  const sources = { watchStatus: (signal: AbortSignal) => statuses.watch(signal) };
  const deps = { sources, clock } as unknown as AdminDeps;
  const server = await startGrpcServer({
    listen: "127.0.0.1:0",
    authorize: methodTable(adminReadMethods),
    services: [{ definition: AdminServiceService, implementation: adminService(deps) }],
  });
  const dialer = new Dialer({ address: server.address, peer: "test server" });
  const stop = AbortSignal.timeout(20_000);
  return {
    told: watchStatus(dialer, { cluster: "" }, stop),
    async [Symbol.asyncDispose]() {
      dialer.close();
      await server.close(100);
    },
  };
}

test("watch status - a large status comes whole, at most once a second, and then the newest", async () => {
  const [statuses, clock] = [new Latest(statusOf(5_000, 1)), new ManualClock()];
  await using world = await watchWorld(statuses, clock);
  const first = await world.told.next();
  assert.equal(first.value && generationOf(first.value), 1);
  const second = world.told.next();
  for (let generation = 2; generation <= 50; generation++) {
    statuses.set(statusOf(5_000, generation));
    await nextTurn();
  }
  const isTold = second.then(() => true);
  // The server may not have begun to hold back when the last part is here.
  while (!(await Promise.race([isTold, nextTurn()]))) clock.advance(1_000);
  const { value } = await second;
  assert.equal(value && generationOf(value), 50);
  assert.equal(value && value.virtualMeshes[0]?.clusters.length, 5_000);
});

test("watch status - a small status is told at once, whatever was told before", async () => {
  const [statuses, clock] = [new Latest(statusOf(3, 1)), new ManualClock()];
  await using world = await watchWorld(statuses, clock);
  for (const generation of [1, 2, 3]) {
    statuses.set(statusOf(3, generation));
    const { value } = await world.told.next();
    assert.equal(value && generationOf(value), generation);
  }
});
