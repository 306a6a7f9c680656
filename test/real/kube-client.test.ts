import assert from "node:assert/strict";
import { copyFile, writeFile } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { findDefinition } from "../../common/api/schema.ts";
import { apply, type Application } from "../../common/kube/apply.ts";
import { KubeClient } from "../../common/kube/client.ts";
import { Reflector, type ReflectorOptions } from "../../common/kube/reflector.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { temporaryFolder, type TemporaryFolder } from "../harness/folder.ts";
import { forwardPort } from "../harness/forward.ts";
import { skipWithout } from "../harness/needs.ts";
import { OPENSSL_TOOLS, opensslRoot } from "../harness/openssl.ts";
import { freePort } from "../harness/ports.ts";

const CRDS = fileURLToPath(new URL("../../deploy/crds", import.meta.url));
const MESH = findDefinition("discovery.mesh.gloo.solo.io/v1", "Mesh")!;
const VIRTUAL_MESH = findDefinition("networking.mesh.gloo.solo.io/v1", "VirtualMesh")!;
const bounded = (): AbortSignal => AbortSignal.timeout(120_000);

suite("real api server, client", { skip: skipWithout([...API_SERVER_TOOLS, ...OPENSSL_TOOLS]) }, () => {
  let api: ApiServer;
  let folder: TemporaryFolder;
  before(async () => {
    folder = await temporaryFolder();
    api = await startApiServer();
    await api.kubectl(["create", "namespace", "gloo-mesh"]);
    await api.kubectl(["apply", "-f", CRDS]);
    await api.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  const mesh = (name: string) => ({
    apiVersion: MESH.apiVersion,
    kind: MESH.kind,
    metadata: { namespace: "gloo-mesh", name },
    spec: { istio: { trustDomain: "cluster.local" } },
  });

  /** A kubeconfig for the API server at another address or with another CA. */
  async function kubeconfig(cluster: Readonly<Record<string, string>>): Promise<string> {
    const file = folder.file(`kubeconfig-${performance.now()}`);
    const config = {
      clusters: [{ name: "c", cluster: { server: api.url, "certificate-authority": api.caFile, ...cluster } }],
      users: [{ name: "u", user: { token: api.adminToken } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    };
    await writeFile(file, JSON.stringify(config));
    return file;
  }

  function follow(client: KubeClient, options: Partial<ReflectorOptions> = {}) {
    const stop = new AbortController();
    const common = { clock: systemClock, random: Math.random, log: silentLog };
    const reflector = new Reflector({ client, type: MESH, ...common, ...options });
    const running = reflector.run(stop.signal);
    const dispose = async (): Promise<void> => {
      stop.abort();
      await running;
      client.close();
    };
    return { reflector, [Symbol.asyncDispose]: dispose };
  }

  const names = (objects: ReadonlyMap<string, KubeObject>): string => [...objects.keys()].sort().join();
  const until = (objects: Latest<ReadonlyMap<string, KubeObject>>, expected: string) =>
    objects.until((each) => names(each) === expected, bounded());

  test("real reflector - follows pages, changes, a killed API server, and what was deleted while it could not see", async () => {
    await api.apply(mesh("a"), mesh("b"), mesh("c"));
    const address = { host: "127.0.0.1", port: await freePort() };
    const { hostname: host, port } = new URL(api.url);
    const server = { host, port: Number(port) };
    const file = await kubeconfig({ server: `https://127.0.0.1:${address.port}` });
    await using followed = follow(KubeClient.open(file), { pageSize: 2, namespace: "gloo-mesh" });
    const { objects, fault } = followed.reflector;
    {
      await using _ = await forwardPort(address, server);
      await until(objects, "gloo-mesh/a,gloo-mesh/b,gloo-mesh/c");
      await api.apply(mesh("d"));
      await until(objects, "gloo-mesh/a,gloo-mesh/b,gloo-mesh/c,gloo-mesh/d");
      await api.restart();
      await api.kubectl(["delete", "mesh", "d", "--namespace", "gloo-mesh"]);
      await until(objects, "gloo-mesh/a,gloo-mesh/b,gloo-mesh/c");
    }
    assert.equal((await fault.until((each) => each !== null, bounded()))?.code, "unavailable");
    await api.kubectl(["delete", "mesh", "b", "--namespace", "gloo-mesh"]);
    await api.apply(mesh("e"));
    // A new API server has no history: it answers 410 to who asks for what came before.
    await api.restart();
    assert.equal(names(objects.value!), "gloo-mesh/a,gloo-mesh/b,gloo-mesh/c");
    const messages: string[] = [];
    const stop = new AbortController();
    const told = fault.until((each) => each !== null && messages.push(each.message) < 0, stop.signal).catch(() => null);
    await using _ = await forwardPort(address, server);
    await until(objects, "gloo-mesh/a,gloo-mesh/c,gloo-mesh/e");
    stop.abort();
    await told;
    assert.ok(
      messages.some((message) => message.includes("too old resource version")),
      messages.join("\n"),
    );
  });

  test("real client - a CA that is replaced on disk is taken at the next request, and a wrong one is said so", async () => {
    const caFile = folder.file("ca.pem");
    await writeFile(caFile, (await opensslRoot("another")).certificate);
    const client = KubeClient.open(await kubeconfig({ "certificate-authority": caFile }));
    const request = { what: "read the version", method: "GET", path: "/version" } as const;
    await assert.rejects(client.call(request, bounded()), (error: Error & { hint?: string; code?: string }) => {
      assert.equal(error.code, "unavailable");
      assert.match(error.hint ?? "", /certificate authority/);
      return true;
    });
    await copyFile(api.caFile, caFile);
    const version = (await client.call(request, bounded())) as { major: string };
    assert.equal(version.major, "1");
    client.close();
  });

  test("real client - two managers own their fields; a conflict names both, force takes, and a uid keeps to its object", async () => {
    const client = KubeClient.open(api.kubeconfig);
    const metadata = { namespace: "gloo-mesh", name: "shared" };
    const write = (fieldManager: string, trustDomain: string, more: Partial<Application> = {}) =>
      apply(
        client,
        { type: MESH, metadata, fields: { spec: { istio: { trustDomain } } }, fieldManager, ...more },
        bounded(),
      );
    const first = await write("agent", "one");
    await assert.rejects(write("server", "two"), (error: Error & { code?: string }) => {
      assert.equal(error.code, "conflict");
      assert.match(error.message, /"agent".*spec\.istio\.trustDomain/s);
      return true;
    });
    const second = await write("server", "two", { force: true });
    assert.notEqual(second.metadata.resourceVersion, first.metadata.resourceVersion);
    await api.kubectl(["delete", "mesh", metadata.name, "-n", metadata.namespace]);
    const again = write("server", "two", { metadata: { ...metadata, uid: second.metadata.uid! } });
    await assert.rejects(again, { code: "conflict" });
    client.close();
  });

  test("real client - a status goes to its subresource alone, and to no object that is not there", async () => {
    const client = KubeClient.open(api.kubeconfig);
    const status = { observedGeneration: 1, state: "ACCEPTED" };
    const application = (name: string): Application => ({
      type: VIRTUAL_MESH,
      metadata: { namespace: "gloo-mesh", name },
      fields: { status },
      subresource: "status",
      fieldManager: "enterprise-networking",
      force: true,
    });
    await api.apply({ ...mesh("vm"), apiVersion: VIRTUAL_MESH.apiVersion, kind: "VirtualMesh", spec: { meshes: [] } });
    const stored = (await apply(client, application("vm"), bounded())) as KubeObject & { spec: object; status: object };
    assert.deepEqual([stored.spec, stored.status, stored.metadata.generation], [{ meshes: [] }, status, 1]);
    await assert.rejects(apply(client, application("absent"), bounded()), { code: "not_found" });
    client.close();
  });
});
