import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualMeshStatus, WatchStatusResponse } from "../../proto/gen/admin/v1/admin.ts";
import { joinStatus, splitStatus } from "./status-parts.ts";

/** A VirtualMesh of so many clusters. */
function meshOf(name: string, clusters: number): VirtualMeshStatus {
  const names = Array.from({ length: clusters }, (_, index) => `cluster-${index}`);
  const meshes = Object.fromEntries(names.map((each) => [`${each}.gloo-mesh.`, { state: "ACCEPTED" }]));
  return VirtualMeshStatus.fromPartial({
    name: { name, namespace: "gloo-mesh" },
    status: { state: "ACCEPTED", observedGeneration: 3, meshes },
    clusters: names.map((cluster) => ({ cluster, connected: true })),
  });
}

const statusOf = (virtualMeshes: VirtualMeshStatus[], sourceProblems: string[] = []): WatchStatusResponse =>
  WatchStatusResponse.fromPartial({ virtualMeshes, sourceProblems, serverTime: new Date(0) });

/** Over the wire, as a client puts it together. */
function joined(parts: readonly WatchStatusResponse[]): WatchStatusResponse | undefined {
  const [first, ...rest] = parts.map((part) => WatchStatusResponse.decode(WatchStatusResponse.encode(part).finish()));
  for (const part of rest) if (first) joinStatus(first, part);
  return first;
}

test("status parts - what is joined is what was split, in parts of the size that is asked for", () => {
  const problems = Array.from({ length: 100 }, (_, index) => `mesh.yaml:${index}:1: no`);
  const whole = statusOf([meshOf("empty", 0), meshOf("large", 500), meshOf("small", 1)], problems);
  const before = WatchStatusResponse.encode(whole).finish();
  const parts = [...splitStatus(whole, 4_000)];
  assert.ok(parts.length > 5, `${parts.length} parts`);
  for (const part of parts) assert.ok(WatchStatusResponse.encode(part).finish().length < 4_200);
  assert.deepEqual(parts.map(({ more }) => more).slice(-2), [true, false]);
  assert.deepEqual(joined(parts), WatchStatusResponse.decode(before));
  assert.deepEqual(
    Buffer.from(WatchStatusResponse.encode(whole).finish()),
    Buffer.from(before),
    "the whole was changed",
  );
});

test("status parts - what is small, and what is empty, is one message", () => {
  for (const whole of [statusOf([]), statusOf([meshOf("a", 3), VirtualMeshStatus.create()])]) {
    const parts = [...splitStatus(whole)];
    assert.equal(parts.length, 1);
    assert.deepEqual(joined(parts), joined([whole]));
  }
});
