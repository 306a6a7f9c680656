import assert from "node:assert/strict";
import { test } from "node:test";
import type { Condition } from "../../common/api/meta.ts";
import type { VirtualMeshStatus } from "../../common/api/virtual-mesh.ts";
import { certificateEvents, virtualMeshEvents, type Happening } from "./events.ts";

const shown = (events: readonly Happening[]) => events.map(({ type, reason, note }) => [type, reason, note]);
const condition = (type: string, status: Condition["status"], message = ""): Condition => {
  return { type, status, message, reason: "R", lastTransitionTime: "2026-01-01T00:00:00Z" };
};

test("events - a VirtualMesh tells its state when it changes, and each edit that is refused", () => {
  const good: VirtualMeshStatus = {
    state: "ACCEPTED",
    observedGeneration: 1,
    conditions: [condition("Accepted", "True", "2 of 2 meshes accepted")],
  };
  assert.deepEqual(shown(virtualMeshEvents(undefined, good)), [
    ["Normal", "Accepted", "generation 1: 2 of 2 meshes accepted"],
  ]);
  assert.deepEqual(virtualMeshEvents(good, { ...good, observedGeneration: 2 }), []);
  const bad: VirtualMeshStatus = { state: "INVALID", observedGeneration: 3, errors: ["a", "b"] };
  assert.deepEqual(shown(virtualMeshEvents(good, bad)), [["Warning", "Invalid", "generation 3: a; b"]]);
  assert.deepEqual(virtualMeshEvents(bad, bad), []);
  assert.equal(virtualMeshEvents(bad, { ...bad, observedGeneration: 4 }).length, 1);
});

test("events - a VirtualMesh tells when it becomes ready and when it is no longer", () => {
  const with_ = (status: Condition["status"], message: string): VirtualMeshStatus => {
    return { state: "ACCEPTED", conditions: [condition("Ready", status, message)] };
  };
  const [waiting, ready] = [with_("False", "0 of 2 meshes issued"), with_("True", "2 of 2 meshes issued")];
  assert.deepEqual(virtualMeshEvents({ state: "ACCEPTED" }, waiting), []);
  assert.deepEqual(shown(virtualMeshEvents(waiting, ready)), [["Normal", "Ready", "2 of 2 meshes issued"]]);
  assert.deepEqual(shown(virtualMeshEvents(ready, waiting)), [["Warning", "NotReady", "0 of 2 meshes issued"]]);
});

test("events - a Mesh tells of each certificate that was issued, renewed, failed or detached, once", () => {
  const first = { podUid: "u", podName: "istiod-1", state: "FINISHED", serial: "01", notAfter: "soon" } as const;
  const issued = { replicas: [first] };
  assert.deepEqual(shown(certificateEvents(undefined, issued)), [
    ["Normal", "CertificateIssued", "pod istiod-1 has serial 01, good until soon"],
  ]);
  assert.deepEqual(certificateEvents(issued, { replicas: [{ ...first, evidence: "another" }] }), []);
  const renewed = { replicas: [{ ...first, serial: "02" }] };
  assert.deepEqual(shown(certificateEvents(issued, renewed)), [
    ["Normal", "CertificateRenewed", "pod istiod-1 has serial 02, good until soon"],
  ]);
  const failed = { replicas: [{ ...first, state: "FAILED" as const, error: { code: "vault_sealed", message: "m" } }] };
  assert.deepEqual(shown(certificateEvents(issued, failed)), [
    ["Warning", "CertificateFailed", "pod istiod-1: vault_sealed: m"],
  ]);
  assert.deepEqual(certificateEvents(failed, failed), []);
  const detached = { ...issued, detached: true };
  assert.deepEqual(
    certificateEvents(issued, detached).map(({ reason }) => reason),
    ["CertificateDetached"],
  );
  assert.deepEqual([certificateEvents(detached, detached), certificateEvents(detached, undefined)], [[], []]);
});
