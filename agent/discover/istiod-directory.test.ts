import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeRequest } from "../../common/kube/client.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Istiod } from "./istiod-deployment.ts";
import { IstiodDirectory } from "./istiod-directory.ts";

const ISTIOD: Istiod = {
  ...{ namespace: "istio-system", name: "istiod", uid: "d1", podLabels: {} },
  ...{ version: "1", revision: "", serviceAccount: "istiod" },
};
const POD = { namespace: "istio-system", name: "istiod-x", uid: "p1" };
const owner = (kind: string, name: string, uid: string, more: object = {}) => ({
  ownerReferences: [
    { apiVersion: "apps/v1", kind, name, uid: "other" },
    { apiVersion: "apps/v1", kind, name, uid, controller: true, ...more },
  ],
});
const PODS = "/api/v1/namespaces/istio-system/pods/istiod-x";
const REPLICA_SETS = "/apis/apps/v1/namespaces/istio-system/replicasets/istiod-7";

const SOUND = {
  [PODS]: { uid: "p1", ...owner("ReplicaSet", "istiod-7", "r1") },
  [REPLICA_SETS]: { uid: "r1", ...owner("Deployment", "istiod", "d1") },
};

function directory(objects: Readonly<Record<string, object>>, istiods: readonly Istiod[] = [ISTIOD]) {
  const call = async ({ path, what }: KubeRequest): Promise<unknown> => {
    const metadata = objects[path];
    if (metadata instanceof MeshError) throw metadata;
    if (!metadata) throw new MeshError("not_found", `api server refused to ${what}`);
    return { metadata };
  };
  const found = new IstiodDirectory({ client: { call }, istiods: new Latest(istiods) });
  return found.istiodOf(POD, new AbortController().signal);
}

test("istiod directory - a pod belongs to the istiod whose Deployment controls the ReplicaSet that controls it", async () => {
  assert.equal(await directory(SOUND), ISTIOD);
});

test("istiod directory - a pod of anything else is refused, and the reason names what it is of", async () => {
  const cases: readonly [Readonly<Record<string, object>>, RegExp][] = [
    [{}, /pod istio-system\/istiod-x does not exist/],
    [{ ...SOUND, [PODS]: { ...SOUND[PODS], uid: "p2" } }, /has uid p2, the token is of uid p1/],
    [{ ...SOUND, [PODS]: { uid: "p1" } }, /not of a ReplicaSet but of no controller/],
    [{ ...SOUND, [PODS]: { uid: "p1", ...owner("Job", "j", "r1") } }, /not of a ReplicaSet but of Job j/],
    [
      { ...SOUND, [PODS]: { uid: "p1", ...owner("ReplicaSet", "istiod-7", "r1", { apiVersion: "evil/v1" }) } },
      /not of a ReplicaSet/,
    ],
    [{ [PODS]: SOUND[PODS] }, /of no controller, which is not a discovered istiod/],
    // A ReplicaSet or Deployment of the same name that came later is another one.
    [{ ...SOUND, [REPLICA_SETS]: { ...SOUND[REPLICA_SETS], uid: "r2" } }, /not a discovered istiod/],
    [
      { ...SOUND, [REPLICA_SETS]: { uid: "r1", ...owner("Deployment", "istiod", "d2") } },
      /of Deployment istiod, which is not a discovered istiod/,
    ],
  ];
  for (const [objects, message] of cases) {
    await assert.rejects(directory(objects), { code: "permission_denied", message });
  }
});

test("istiod directory - what cannot be told yet is no refusal of the pod", async () => {
  const unsynced = new IstiodDirectory({ client: { call: async () => ({}) }, istiods: new Latest() });
  await assert.rejects(unsynced.istiodOf(POD, new AbortController().signal), { code: "unavailable" });
  const forbidden = new MeshError("permission_denied", "pods is forbidden", { hint: "grant" });
  await assert.rejects(directory({ ...SOUND, [PODS]: forbidden }), { code: "unavailable", hint: "grant" });
  const away = new MeshError("deadline_exceeded", "no answer");
  await assert.rejects(directory({ ...SOUND, [REPLICA_SETS]: away }), { code: "deadline_exceeded" });
});
