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
import { StatusWriter } from "./status-writer.ts";

interface Write {
  readonly url: string;
  readonly body: { readonly metadata: object; readonly status: object };
}

/** An API server that takes writes, each with the next of these answers, then with 200. */
async function startFake(...answers: number[]) {
  const writes: Write[] = [];
  const server = createServer((request, response) => {
    request.setEncoding("utf8");
    let text = "";
    request.on("data", (chunk: string) => (text += chunk));
    request.on("end", () => {
      writes.push({ url: request.url ?? "", body: JSON.parse(text) as Write["body"] });
      response.writeHead(answers.shift() ?? 200).end("{}");
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
  return {
    client,
    writes,
    async [Symbol.asyncDispose]() {
      client.close();
      server.close();
      await rm(folder, { recursive: true });
    },
  };
}

const MESH: KubeObject = {
  apiVersion: "discovery.mesh.gloo.solo.io/v1",
  kind: "Mesh",
  metadata: { namespace: "gloo-mesh", name: "m", uid: "one", resourceVersion: "7" },
};
const signal = () => AbortSignal.timeout(10_000);

test("status writer - writes its part to the subresource of this very object, and the same one once per version", async () => {
  await using fake = await startFake();
  const writer = new StatusWriter({ client: fake.client, manager: "enterprise-networking" });
  const part = { observedGeneration: 1 };
  assert.equal(await writer.write(MESH, part, signal()), true);
  assert.equal(await writer.write(MESH, { ...part }, signal()), false);
  const [{ url, body } = assert.fail()] = fake.writes;
  assert.equal(
    url,
    "/apis/discovery.mesh.gloo.solo.io/v1/namespaces/gloo-mesh/meshes/m/status" +
      "?fieldManager=enterprise-networking&force=true",
  );
  assert.deepEqual(body.metadata, { name: "m", uid: "one", namespace: "gloo-mesh" });
  assert.deepEqual(body.status, part);
  assert.equal(await writer.write(MESH, {}, signal()), true, "another part");
  assert.equal(await writer.write({ ...MESH }, {}, signal()), true, "somebody has changed it since");
  assert.equal(fake.writes.length, 3);
});

test("status writer - an object that is gone or has changed is left alone; any other refusal is thrown, and tried again", async () => {
  await using fake = await startFake(409, 404, 500);
  const writer = new StatusWriter({ client: fake.client, manager: "enterprise-networking-session", asRead: true });
  assert.equal(await writer.write(MESH, {}, signal()), false);
  assert.equal(await writer.write(MESH, {}, signal()), false);
  await assert.rejects(writer.write(MESH, {}, signal()), { code: "unavailable" });
  assert.equal(await writer.write(MESH, {}, signal()), true);
  assert.deepEqual(fake.writes[0]?.body.metadata, {
    name: "m",
    uid: "one",
    namespace: "gloo-mesh",
    resourceVersion: "7",
  });
});
