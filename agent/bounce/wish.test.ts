import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CertificateState,
  IssuedCertificate,
  type IssuedCertificateStatus,
  type ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import { firstStatus } from "../certs/replica-status.ts";
import type { Istiod } from "../discover/istiod-deployment.ts";
import type { PodFacts } from "./pod.ts";
import { podsOf, wishOf } from "./wish.ts";

const { CERTIFICATE_STATE_FINISHED: FINISHED, CERTIFICATE_STATE_ISSUED: ISSUED } = CertificateState;
const A = "aa".repeat(32);

const replica = (root: string, more: Partial<ReplicaStatus> = {}): ReplicaStatus => {
  const pod = {
    podName: "istiod-1",
    podNamespace: "istio-system",
    podUid: "u",
    serviceAccount: "istiod",
    expiresAtMs: 0,
  };
  return { ...firstStatus(pod), state: FINISHED, rootSha256: Buffer.from(root, "hex"), ...more };
};

const held = (more: Partial<IssuedCertificate>, detached = false) => ({
  certificate: IssuedCertificate.fromPartial(more),
  version: Buffer.alloc(0),
  detached,
});

const wish = (...replicas: ReplicaStatus[]) => {
  const status = { replicas } as unknown as IssuedCertificateStatus;
  return wishOf(held({ autoRestartPods: true }), status).root;
};

test("restart wish - the root is known when every linked istiod was seen to sign under it", () => {
  assert.deepEqual(wish(replica(A), replica(A)), { sha256: A });
  assert.deepEqual(wish(replica(A), replica("bb", { connected: false })), { sha256: A });
  assert.deepEqual(wish(), { unknown: "waits until an istiod is linked" });
  assert.deepEqual(wish(replica(A, { connected: false })), { unknown: "waits until an istiod is linked" });
  assert.deepEqual(wish(replica(A), replica("bb")), { unknown: "waits until all istiods sign under one root" });
  assert.deepEqual(wish(replica("")), { unknown: "waits until istiod tells its root" });
  const unproved = wish(replica(A), replica(A, { state: ISSUED, podName: "istiod-2" }));
  assert.deepEqual(unproved, { unknown: "waits until istiod istiod-2 is seen to sign with its certificate" });
});

test("restart wish - a detached certificate asks for nothing", () => {
  const automatic = [false, true].map((detached) => wishOf(held({ autoRestartPods: true }, detached), undefined));
  assert.deepEqual(
    automatic.map(({ isAutomatic }) => isAutomatic),
    [true, false],
  );
  assert.equal(wishOf(held({}), undefined).isAutomatic, false);
});

test("restart wish - the pods of a mesh are those that its istiod signs for, and never istiod's own", () => {
  const istiod = (name: string): Istiod => ({
    ...{ name, namespace: "istio-system", revision: name.slice(7), uid: "", podLabels: {}, version: "" },
    serviceAccount: "istiod",
  });
  const istiods = [istiod("istiod"), istiod("istiod-canary")];
  const installation = { namespace: "istio-system", deployment: "istiod-canary", serviceAccounts: [] };
  const isOfMesh = podsOf(held({ installation }), istiods);
  const pod = (host: string, more: Partial<PodFacts> = {}): PodFacts => ({
    ...{ namespace: "app", name: "p", uid: "u", createdMs: 0, labels: {}, controller: undefined, ready: true },
    terminating: false,
    proxy: { isGateway: false, authority: `${host}.istio-system.svc`, revision: undefined },
    ...more,
  });
  assert.equal(isOfMesh(pod("istiod-canary")), true);
  assert.equal(isOfMesh(pod("istiod")), false);
  assert.equal(isOfMesh(pod("istiod-canary", { proxy: undefined })), false);
  const controller = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "istiod-canary-7f", uid: "r" };
  const labels = { "pod-template-hash": "7f" };
  assert.equal(isOfMesh(pod("istiod-canary", { controller, labels, namespace: "istio-system" })), false);
  assert.equal(isOfMesh(pod("istiod-canary", { controller, labels })), true);
});
