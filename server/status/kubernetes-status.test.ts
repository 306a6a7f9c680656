import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { KubeClient } from "../../common/kube/client.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import type { MeshesStatus } from "../admin/services.ts";
import { KubernetesStatus } from "./kubernetes-status.ts";

interface Write {
  readonly url: string;
  readonly body: { readonly metadata: { readonly name: string }; readonly status: { readonly state: string } };
}

/** An API server that takes writes, each with the next of these answers, then with 200. */
async function startFake(...answers: number[]) {
  const writes = new Latest<readonly Write[]>([]);
  const server = createServer((request, response) => {
    request.setEncoding("utf8");
    let text = "";
    request.on("data", (chunk: string) => (text += chunk));
    request.on("end", () => {
      const body = JSON.parse(text) as Write["body"];
      response.writeHead(answers.shift() ?? 200).end("{}");
      writes.set([...(writes.value ?? []), { url: request.url ?? "", body }]);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const folder = await mkdtemp(join(tmpdir(), "status-"));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const config = {
    clusters: [{ name: "c", cluster: { server: url, "insecure-skip-tls-verify": true } }],
    users: [{ name: "u", user: {} }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  await writeFile(join(folder, "kubeconfig"), JSON.stringify(config));
  const client = KubeClient.open(join(folder, "kubeconfig"));
  const objects = new Latest<ReadonlyMap<string, KubeObject>>();
  const statuses = new Latest<MeshesStatus>();
  const stop = new AbortController();
  const context = { clock: systemClock, random: () => 0, log: silentLog };
  const running = new KubernetesStatus({ client, objects, statuses, ...context }).run(stop.signal);
  return {
    objects,
    /** Each call is one new status of all. */
    say: (states: Readonly<Record<string, string>>) =>
      statuses.set({
        virtualMeshes: Object.entries(states).map(([name, state]) => {
          return { name: { namespace: "gloo-mesh", name }, status: { state }, clusters: [] };
        }),
        sourceProblems: [],
      }),
    /** "name state" of each write, once there are so many. */
    written: async (count: number) => {
      const all = await writes.until(({ length }) => length >= count, AbortSignal.timeout(30_000));
      return all.map(({ body }) => `${body.metadata.name} ${body.status.state}`);
    },
    first: () => writes.value?.[0],
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      client.close();
      server.close();
      await rm(folder, { recursive: true });
    },
  };
}

const object = (name: string, uid: string, status?: object): [string, KubeObject] => [
  `gloo-mesh/${name}`,
  {
    apiVersion: "networking.mesh.gloo.solo.io/v1",
    kind: "VirtualMesh",
    metadata: { namespace: "gloo-mesh", name, uid },
    ...(status && { status }),
  },
];

test("kubernetes status - is written to its subresource, for this very object, and only when it changed", async () => {
  await using fake = await startFake();
  fake.objects.set(new Map([object("vm", "one", { state: "PENDING" }), object("other", "two")]));
  // Written one after the other, so a write of the second says that the first was passed over.
  fake.say({ vm: "PENDING", absent: "FAILED", other: "A" });
  assert.deepEqual(await fake.written(1), ["other A"]);
  fake.say({ vm: "ACCEPTED", other: "A" });
  await fake.written(2);
  fake.say({ vm: "ACCEPTED", other: "B" });
  assert.deepEqual(await fake.written(3), ["other A", "vm ACCEPTED", "other B"]);
  const { url, body } = fake.first() ?? {};
  assert.equal(
    url,
    "/apis/networking.mesh.gloo.solo.io/v1/namespaces/gloo-mesh/virtualmeshes/other/status" +
      "?fieldManager=enterprise-networking&force=true",
  );
  assert.deepEqual(body?.metadata, { name: "other", uid: "two", namespace: "gloo-mesh" });
});

test("kubernetes status - a failed write is repeated and holds up no other; an object made anew gets its status", async () => {
  await using fake = await startFake(200, 500, 200, 200, 409);
  fake.objects.set(new Map([object("vm", "one"), object("other", "two")]));
  fake.say({ other: "A" });
  await fake.written(1);
  fake.say({ vm: "ACCEPTED", other: "B" });
  assert.deepEqual(await fake.written(4), ["other A", "vm ACCEPTED", "other B", "vm ACCEPTED"]);
  fake.say({ vm: "FAILED", other: "B" });
  await fake.written(5);
  fake.objects.set(new Map([object("vm", "three"), object("other", "two")]));
  assert.deepEqual((await fake.written(6)).slice(4), ["vm FAILED", "vm FAILED"]);
});
