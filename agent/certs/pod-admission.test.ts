import assert from "node:assert/strict";
import { test } from "node:test";
import { MeshError } from "../../common/runtime/errors.ts";
import { admitPods, type PodAdmissionOptions } from "./pod-admission.ts";
import type { PodIdentity } from "./token-reviewer.ts";

const USER = { username: "system:serviceaccount:istio-system:istiod", uid: "u", groups: ["g"], extra: {} };
const POD: PodIdentity = {
  podName: "istiod-1",
  podUid: "uid-1",
  podNamespace: "istio-system",
  serviceAccount: "istiod",
  expiresAtMs: 0,
  user: USER,
};

function admission(given: Partial<PodAdmissionOptions> = {}) {
  return admitPods({
    accounts: ["istio-system/istiod"],
    namespace: "gloo-mesh",
    findIstiod: () => Promise.resolve({ name: "istiod-canary" }),
    reviewAccess: () => Promise.resolve(true),
    ...given,
  });
}

test("pod admission - asks for the right to link as the user of the token", async () => {
  const asked: unknown[] = [];
  const reviewAccess: PodAdmissionOptions["reviewAccess"] = (user, question) => {
    asked.push(user, question);
    return Promise.resolve(true);
  };
  assert.deepEqual(await admission({ reviewAccess }).admit(POD), { ...POD, deployment: "istiod-canary" });
  const group = "certificates.mesh.gloo.solo.io";
  assert.deepEqual(asked, [USER, { verb: "link", group, resource: "issuedcertificates", namespace: "gloo-mesh" }]);
});

test("pod admission - refuses another account, another's pod, and an account without the right, each with its reason", async () => {
  const denied = { code: "permission_denied" } as const;
  await assert.rejects(admission({ accounts: ["a/b"] }).admit(POD), {
    ...denied,
    message: /istio-system\/istiod is not/,
  });
  const findIstiod = () => Promise.reject(new MeshError("permission_denied", "pod is of Job x"));
  await assert.rejects(admission({ findIstiod }).admit(POD), { ...denied, message: "pod is of Job x" });
  const reviewAccess = () => Promise.resolve(false);
  await assert.rejects(admission({ reviewAccess }).admit(POD), {
    ...denied,
    message: "service account istio-system/istiod may not link issuedcertificates in gloo-mesh",
    hint: /createRoleBinding: true/,
  });
});

test("pod admission - a reviewer that does not say whose token it is lets nobody in", async () => {
  const { user: _, ...unknown } = POD;
  await assert.rejects(admission().admit(unknown), { code: "permission_denied" });
});
