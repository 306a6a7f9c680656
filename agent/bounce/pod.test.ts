import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import type { Istiod } from "../discover/istiod-deployment.ts";
import { istiodOfProxy } from "./attribution.ts";
import { readPod } from "./pod.ts";

const pod = (spec: object, metadata: object = {}, status: object = {}): KubeObject & object => ({
  ...{ apiVersion: "v1", kind: "Pod" },
  metadata: { namespace: "app", name: "p", uid: "u", creationTimestamp: "2026-01-01T00:00:00Z", ...metadata },
  ...{ spec, status },
});
const proxy = (...args: string[]) => ({ name: "istio-proxy", args: ["proxy", ...args] });
const app = { name: "app" };

test("restarted pod - its proxy is a sidecar's, a native sidecar's or a gateway's, and a pod without one has none", () => {
  const roleOf = (spec: object) => readPod(pod(spec))?.proxy?.isGateway;
  assert.equal(roleOf({ containers: [app, proxy("sidecar")] }), false);
  assert.equal(roleOf({ containers: [app], initContainers: [proxy("sidecar")] }), false);
  assert.equal(roleOf({ containers: [proxy("router", "--domain", "d")] }), true);
  assert.equal(roleOf({ containers: [proxy("waypoint")] }), true);
  assert.equal(readPod(pod({ containers: [app] }))?.proxy, undefined);
});

test("restarted pod - what has ended is none, and what is Ready, leaving or controlled is told", () => {
  for (const phase of ["Succeeded", "Failed"]) assert.equal(readPod(pod({}, {}, { phase })), undefined);
  const conditions = [{ type: "Ready", status: "True" }];
  const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "r", uid: "ru" };
  const metadata = {
    deletionTimestamp: "2026-01-01T00:00:01Z",
    ownerReferences: [
      { ...owner, kind: "Other" },
      { ...owner, controller: true },
    ],
  };
  const found = readPod(pod({}, metadata, { phase: "Running", conditions }));
  assert.deepEqual([found?.ready, found?.terminating, found?.controller], [true, true, owner]);
  const plain = readPod(pod({}, { ownerReferences: [owner] }));
  assert.deepEqual([plain?.ready, plain?.terminating, plain?.controller], [false, false, undefined]);
});

const istiod = (name: string, namespace: string, revision: string): Istiod => ({
  ...{ name, namespace, revision, uid: "", podLabels: {}, version: "", serviceAccount: "" },
});

test("restarted pod - it is of the istiod that signs for it: by address, else by revision, else of the only one", () => {
  const [first, canary, other] = [
    istiod("istiod", "istio-system", ""),
    istiod("istiod-canary", "istio-system", "canary"),
    istiod("istiod", "other", ""),
  ];
  const all = [first, canary, other];
  const env = [{ name: "CA_ADDR", value: "istiod.other.svc:15012" }];
  const proxyOf = (container: object, annotations: object = {}) => {
    const found = readPod(pod({ containers: [{ ...proxy("sidecar"), ...container }] }, { annotations }))?.proxy;
    assert.ok(found);
    return found;
  };
  assert.equal(istiodOfProxy(proxyOf({ env }), all), other);
  assert.equal(istiodOfProxy(proxyOf({}, { "istio.io/rev": "canary" }), all), canary);
  assert.equal(istiodOfProxy(proxyOf({}, { "istio.io/rev": "default" }), [first, canary]), first);
  assert.equal(istiodOfProxy(proxyOf({}), all), undefined);
  assert.equal(istiodOfProxy(proxyOf({ env: [{ name: "CA_ADDR", value: "ca.corp:443" }] }), [first]), first);
  assert.equal(istiodOfProxy(proxyOf({}), []), undefined);
});
