import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { apply } from "../../common/kube/apply.ts";
import { KubeClient } from "../../common/kube/client.ts";
import { createObject, deleteObject, mergeObject, readObject, replaceObject } from "../../common/kube/objects.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { temporaryFolder, type TemporaryFolder } from "../harness/folder.ts";
import { skipWithout } from "../harness/needs.ts";

const CONFIG_MAP = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps" };
const namespace = "default";
const bounded = (): AbortSignal => AbortSignal.timeout(60_000);
const dataOf = (object: KubeObject | undefined): unknown => (object as { data?: unknown } | undefined)?.data;

suite("real api server, objects", { skip: skipWithout(API_SERVER_TOOLS) }, () => {
  let api: ApiServer;
  let folder: TemporaryFolder;
  let client: KubeClient;
  before(async () => {
    folder = await temporaryFolder();
    api = await startApiServer();
    client = KubeClient.open(api.kubeconfig);
  });
  after(async () => {
    client.close();
    await api[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });
  const write = (name: string, data: object, resourceVersion?: string) => ({
    type: CONFIG_MAP,
    object: { metadata: { name, namespace, ...(resourceVersion && { resourceVersion }) }, data },
    fieldManager: "test",
  });

  test("objects - one is made once, and replaced only by who has seen its last version", async () => {
    const made = await createObject(client, write("a", { x: "1" }), bounded());
    await assert.rejects(createObject(client, write("a", { x: "2" }), bounded()), { code: "conflict" });
    const version = made.metadata.resourceVersion;
    const replaced = await replaceObject(client, write("a", { y: "2" }, version), bounded());
    assert.deepEqual(dataOf(replaced), { y: "2" });
    await assert.rejects(replaceObject(client, write("a", { x: "3" }, version), bounded()), { code: "conflict" });
    await assert.rejects(replaceObject(client, write("a", { x: "3" }), bounded()), { code: "internal" });
    const place = { name: "a", namespace };
    const patch = { data: { z: "3", y: null } };
    await mergeObject(client, { type: CONFIG_MAP, place, patch, fieldManager: "test" }, bounded());
    assert.deepEqual(dataOf(await readObject(client, CONFIG_MAP, place, bounded())), { z: "3" });
  });

  test("objects - one is deleted only as it was read, and what is gone is gone", async () => {
    const made = await createObject(client, write("b", {}), bounded());
    await replaceObject(client, write("b", { x: "1" }, made.metadata.resourceVersion), bounded());
    await assert.rejects(deleteObject(client, CONFIG_MAP, made, bounded()), { code: "conflict" });
    const found = await readObject(client, CONFIG_MAP, { name: "b", namespace }, bounded());
    await deleteObject(client, CONFIG_MAP, found!, bounded());
    await deleteObject(client, CONFIG_MAP, found!, bounded());
    assert.equal(await readObject(client, CONFIG_MAP, { name: "b", namespace }, bounded()), undefined);
  });

  test("objects - server-side apply makes what a right by name allows, and nothing else", async () => {
    await api.createServiceAccount(namespace, "named");
    const rules = [{ apiGroups: [""], resources: ["configmaps"], resourceNames: ["c"], verbs: ["create", "patch"] }];
    const rbac = "rbac.authorization.k8s.io/v1";
    await api.apply(
      { apiVersion: rbac, kind: "Role", metadata: { name: "named", namespace }, rules },
      {
        ...{ apiVersion: rbac, kind: "RoleBinding", metadata: { name: "named", namespace } },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "named" },
        subjects: [{ kind: "ServiceAccount", name: "named", namespace }],
      },
    );
    const token = await api.createToken({ namespace, serviceAccount: "named" });
    const file = folder.file("named.json");
    const config = {
      clusters: [{ name: "c", cluster: { server: api.url, "certificate-authority": api.caFile } }],
      users: [{ name: "u", user: { token } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    };
    await writeFile(file, JSON.stringify(config));
    const limited = KubeClient.open(file);
    const applied = (name: string) => ({
      ...{ type: CONFIG_MAP, metadata: { name, namespace }, fieldManager: "test" },
      fields: { data: { x: "1" } },
    });
    try {
      await apply(limited, applied("c"), bounded());
      await assert.rejects(apply(limited, applied("d"), bounded()), { code: "permission_denied" });
      await assert.rejects(createObject(limited, write("c2", {}), bounded()), { code: "permission_denied" });
    } finally {
      limited.close();
    }
  });
});
