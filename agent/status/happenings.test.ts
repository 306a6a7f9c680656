import assert from "node:assert/strict";
import { test } from "node:test";
import type { IssuedCertificate, IssuedCertificateEntry } from "../../common/api/certificates.ts";
import { happenings, HappeningsSince } from "./happenings.ts";

const POD: IssuedCertificateEntry = {
  podUid: "u",
  podName: "istiod-1",
  state: "FINISHED",
  serial: "01",
  notAfter: "t",
};
const certificate = (
  replicas: IssuedCertificateEntry[],
  changes: Partial<IssuedCertificate["status"]> = {},
  resourceVersion = "1",
): IssuedCertificate => ({
  ...{ apiVersion: "certificates.mesh.gloo.solo.io/v1", kind: "IssuedCertificate", spec: {} },
  metadata: { name: "mesh", namespace: "gloo-mesh", uid: "x", resourceVersion },
  status: { replicas, ...changes },
});
const told = (before: IssuedCertificate | undefined, after: IssuedCertificate) =>
  happenings(before, after).map(({ type, reason, note }) => [type, reason, note]);

test("happenings - what a pod got, got anew or did not get is told once", () => {
  const issued = certificate([POD]);
  assert.deepEqual(told(certificate([]), issued), [
    ["Normal", "CertificateIssued", "pod istiod-1 has serial 01, good until t"],
  ]);
  assert.deepEqual(told(issued, certificate([{ ...POD, evidence: "another", connected: false }])), []);
  const renewed = certificate([{ ...POD, serial: "02" }]);
  assert.deepEqual(told(issued, renewed), [
    ["Normal", "CertificateRenewed", "pod istiod-1 has serial 02, good until t"],
  ]);
  const failed = certificate([{ ...POD, state: "FAILED", error: { code: "vault_sealed", message: "sealed" } }]);
  assert.deepEqual(told(issued, failed), [["Warning", "CertificateFailed", "pod istiod-1: vault_sealed: sealed"]]);
  assert.deepEqual(told(failed, failed), []);
});

test("happenings - the loss of the intent is told, and what kind it is", () => {
  const detached = (reason: string): IssuedCertificate => {
    const condition = { type: "Detached", status: "True", reason, message: reason, lastTransitionTime: "t" } as const;
    return certificate([POD], { conditions: [condition] });
  };
  assert.deepEqual(told(certificate([POD]), detached("IntentMissing")), [
    ["Warning", "CertificateDetached", "IntentMissing"],
  ]);
  assert.deepEqual(told(detached("IntentMissing"), detached("IntentMissing")), []);
  assert.equal(told(detached("IntentMissing"), detached("Removed")).length, 1);
});

test("happenings - nothing is told of what was there at the start", () => {
  const since = new HappeningsSince();
  const key = "gloo-mesh/mesh";
  assert.deepEqual(since.next(new Map([[key, certificate([POD])]])), []);
  assert.deepEqual(since.next(new Map([[key, certificate([POD])]])), []);
  const renewed = certificate([{ ...POD, serial: "02" }], {}, "2");
  assert.equal(since.next(new Map([[key, renewed]])).length, 1);
  assert.deepEqual(since.next(new Map()), []);
});
