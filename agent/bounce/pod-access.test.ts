import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeRequest } from "../../common/kube/client.ts";
import { refusalError } from "../../common/kube/errors.ts";
import { KubePodAccess, selectorText } from "./pod-access.ts";
import type { PodFacts } from "./pod.ts";

const never = new AbortController().signal;
const POD: PodFacts = {
  ...{ namespace: "app", name: "web-0", uid: "u1", createdMs: 0, labels: {}, controller: undefined },
  ...{ ready: true, terminating: false, proxy: undefined },
};

test("pod access - an eviction names the very pod, and tells a budget from a pod that is gone and from a fault", async () => {
  const requests: KubeRequest[] = [];
  const outcome = (status: number, body: object = {}) =>
    new KubePodAccess({
      call: async (request) => {
        requests.push(request);
        if (status < 300) return {};
        throw refusalError(request.what, status, body);
      },
    }).evict(POD, never);
  assert.deepEqual(await outcome(201), { kind: "evicted" });
  assert.equal(requests[0]?.path, "/api/v1/namespaces/app/pods/web-0/eviction");
  assert.deepEqual((requests[0].body as { deleteOptions: object }).deleteOptions, { preconditions: { uid: "u1" } });
  assert.deepEqual([await outcome(404), await outcome(409)], [{ kind: "gone" }, { kind: "gone" }]);
  const causes = [{ reason: "DisruptionBudget", message: "The disruption budget b needs 1" }];
  const refused = await outcome(429, { message: "Cannot evict.", details: { retryAfterSeconds: 7, causes } });
  assert.ok(refused.kind === "refused");
  assert.match(refused.why, /The disruption budget b needs 1/);
  assert.equal(refused.retryAfterMs, 7_000);
  await assert.rejects(outcome(403), { code: "permission_denied" });
  await assert.rejects(outcome(500), { code: "unavailable" });
});

test("pod access - a selector is written as a query has it", () => {
  const matchExpressions = [
    { key: "tier", operator: "In", values: ["a", "b"] } as const,
    { key: "x", operator: "NotIn", values: ["c"] } as const,
    { key: "y", operator: "Exists" } as const,
    { key: "z", operator: "DoesNotExist" } as const,
  ];
  assert.equal(
    selectorText({ matchLabels: { app: "web" }, matchExpressions }),
    "app=web,tier in (a,b),x notin (c),y,!z",
  );
  assert.equal(selectorText({ app: "web", v: "1" }), "app=web,v=1");
  assert.equal(selectorText({}), "");
});

test("pod access - a controller that is gone, or is another of that name, has and wants no pods", async () => {
  const controller = { apiVersion: "apps/v1", kind: "StatefulSet", name: "web", uid: "s1" };
  const look = (uid: string | undefined) =>
    new KubePodAccess({
      call: async ({ what }) => {
        if (uid === undefined) throw refusalError(what, 404, {});
        return { metadata: { uid }, spec: { replicas: 3 } };
      },
    }).look({ namespace: "app", controllers: [controller] }, never);
  for (const uid of [undefined, "s2"]) assert.deepEqual(await look(uid), { pods: [], desired: 0 });
});
