import assert from "node:assert/strict";
import { test } from "node:test";
import {
  IssuedCertificateStatus,
  PodBounceState,
  PodBounceStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import { meshRef } from "../intent/fixtures.ts";
import { podBounceFact, podBounceWarnings } from "./pod-bounce.ts";
import type { CertificateReport } from "./report.ts";

const { POD_BOUNCE_STATE_PENDING: PENDING, POD_BOUNCE_STATE_BOUNCING: BOUNCING } = PodBounceState;
const { POD_BOUNCE_STATE_FINISHED: FINISHED, POD_BOUNCE_STATE_FAILED: FAILED } = PodBounceState;

function reportOf(number: number, bounce?: Partial<PodBounceStatus>): CertificateReport {
  const podBounce = bounce && PodBounceStatus.create(bounce);
  const certificate = IssuedCertificateStatus.create({ podBounce });
  return { cluster: `cluster-${number}`, mesh: meshRef(number), connected: true, applied: true, certificate };
}

const factOf = (...reports: CertificateReport[]) => {
  const { type, status, reason, message } = podBounceFact(reports, 3);
  assert.equal(type, "AutoRestartPods");
  return [status, reason, message];
};

const OUTAGE = "traffic between restarted and unrestarted pods fails meanwhile";

test("pod bounce - the condition says before a restart what it costs, then how far it is, then that it is done", () => {
  assert.deepEqual(factOf(reportOf(1), reportOf(2, { state: PENDING, message: "waits for the root in bookinfo" })), [
    "False",
    "Pending",
    `cluster-1: nothing to restart yet; cluster-2: pending, waits for the root in bookinfo; ${OUTAGE}`,
  ]);
  assert.deepEqual(factOf(reportOf(1, { state: BOUNCING, restarted: 2, remaining: 5 }), reportOf(2)), [
    "False",
    "Restarting",
    `cluster-1: restarting, 2 of 7 pods restarted; cluster-2: nothing to restart yet; ${OUTAGE}`,
  ]);
  const done = reportOf(1, { state: FINISHED, restarted: 7 });
  assert.deepEqual(factOf(done), ["True", "Finished", "cluster-1: finished, 7 of 7 pods restarted"]);
  assert.deepEqual(factOf(done, reportOf(2, { state: FAILED, message: "eviction of a/b is refused" })), [
    "False",
    "Failed",
    `cluster-2: failed, eviction of a/b is refused; cluster-1: finished, 7 of 7 pods restarted; ${OUTAGE}`,
  ]);
  assert.deepEqual(factOf()[1], "Pending");
});

test("pod bounce - a mesh is warned of a restart that comes or is under way, and of pods to restart by hand", () => {
  assert.match(podBounceWarnings(reportOf(1), true).join(), new RegExp(`in cluster cluster-1 gateways.*; ${OUTAGE}$`));
  assert.deepEqual(podBounceWarnings(reportOf(1), false), []);
  const byHand = reportOf(1, { state: BOUNCING, restarted: 1, remaining: 1 });
  assert.match(podBounceWarnings(byHand, false).join(), new RegExp(`1 of 2 pods restarted; ${OUTAGE}$`));
  const left = reportOf(1, { state: FINISHED, unmanaged: ["a/bare", "b/job"] });
  assert.deepEqual(podBounceWarnings(left, true), [
    "pods that nobody would replace are not restarted, do it by hand: a/bare, b/job",
  ]);
});
