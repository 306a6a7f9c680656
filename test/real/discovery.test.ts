import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Discoverer } from "../../agent/discover/discoverer.ts";
import { IstiodDirectory } from "../../agent/discover/istiod-directory.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import type { Discovery } from "../../proto/gen/discovery/v1/discovery.ts";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { temporaryFolder, type TemporaryFolder } from "../harness/folder.ts";
import { skipWithout } from "../harness/needs.ts";
import { clientWithRights, type Rights } from "./agent-account.ts";
import { istiodDeployment } from "./istiod-deployment.ts";

const bounded = (): AbortSignal => AbortSignal.timeout(60_000);
const LOOK = ["list", "watch"];

/** What docs and chart say discovery needs. */
const RIGHTS: Rights = {
  everywhere: [
    { apiGroups: ["apps"], resources: ["deployments"], verbs: LOOK },
    { apiGroups: ["apps"], resources: ["replicasets"], verbs: ["get"] },
    { apiGroups: [""], resources: ["services", "nodes"], verbs: LOOK },
    { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
    { apiGroups: [""], resources: ["configmaps"], resourceNames: ["istio", "istio-canary"], verbs: LOOK },
  ],
};

suite("real api server, discovery", { skip: skipWithout([...API_SERVER_TOOLS]) }, () => {
  let api: ApiServer;
  let folder: TemporaryFolder;
  before(async () => {
    folder = await temporaryFolder();
    api = await startApiServer();
    await api.createServiceAccount("istio-system", "istiod");
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  async function follow(account: string, rights: Rights) {
    const client = await clientWithRights({ api, folder }, account, rights);
    const common = { clock: systemClock, random: Math.random, log: silentLog };
    const discovery = new Latest<Discovery>();
    const discoverer = new Discoverer({ client, agentNamespace: "gloo-mesh", discovery, ...common });
    const directory = new IstiodDirectory({ client, istiods: discoverer.istiods });
    const stop = new AbortController();
    const running = discoverer.run(stop.signal);
    const dispose = async (): Promise<void> => {
      stop.abort();
      await running;
      client.close();
    };
    const until = (accept: (found: Discovery) => boolean) => discovery.until(accept, bounded());
    return { discoverer, directory, until, [Symbol.asyncDispose]: dispose };
  }

  const names = ({ meshes }: Discovery): string =>
    meshes.map(({ namespace, deployment }) => `${namespace}/${deployment}`).join();

  const meshConfig = (name: string, mesh: string) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: "istio-system", name },
    data: { mesh },
  });

  const gateway = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "istio-system", name: "istio-ingressgateway" },
    spec: {
      type: "NodePort",
      selector: { istio: "ingressgateway" },
      ports: [{ name: "tls", port: 15443, targetPort: 15443, nodePort: 32000 }],
    },
  };

  test("real discovery - istiods, their configuration and gateways are found and followed, by the rights of the chart", async () => {
    await using found = await follow("discovery", RIGHTS);
    assert.deepEqual(await found.until(() => true), { meshes: [] });
    await api.apply(istiodDeployment({ namespace: "istio-system", serviceAccount: "istiod" }));
    const [bare] = (await found.until(({ meshes }) => meshes.length === 1)).meshes;
    assert.deepEqual([bare?.trustDomain, bare?.version, bare?.serviceAccount], ["cluster.local", "1.31.0", "istiod"]);
    await api.apply(meshConfig("istio", "trustDomain: td.example"), gateway, {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "node-1", labels: { "topology.kubernetes.io/region": "eu-1" } },
    });
    const status = {
      addresses: [{ type: "InternalIP", address: "10.200.0.11" }],
      conditions: [{ type: "Ready", status: "True", reason: "KubeletReady", message: "ready" }],
    };
    const patch = JSON.stringify({ status });
    await api.kubectl(["patch", "node", "node-1", "--subresource=status", "--type=merge", "--patch", patch]);
    const whole = await found.until(
      ({ meshes: [mesh] }) => mesh?.trustDomain === "td.example" && mesh.ingressGateways.length === 1,
    );
    const [entry] = whole.meshes[0]?.ingressGateways ?? [];
    assert.deepEqual([entry?.externalAddress?.value, entry?.externalTlsPort], ["10.200.0.11", 32000]);
    assert.equal(whole.meshes[0]?.region, "eu-1");
    const canary = istiodDeployment({ namespace: "istio-system", serviceAccount: "istiod" }) as { metadata: object };
    await api.apply(meshConfig("istio-canary", "trustDomain: canary"), {
      ...canary,
      metadata: { namespace: "istio-system", name: "istiod-canary" },
    });
    const both = await found.until((each) => names(each) === "istio-system/istiod,istio-system/istiod-canary");
    assert.equal(both.meshes[1]?.trustDomain, "canary");
    await api.kubectl(["delete", "deployment", "istiod-canary", "--namespace", "istio-system"]);
    await found.until((each) => names(each) === "istio-system/istiod");
    assert.equal(found.discoverer.istiods.value?.length, 1);
  });

  test("real discovery - a pod of istiod is told from one of another Deployment, by its owners and uid", async () => {
    await api.apply(istiodDeployment({ namespace: "istio-system", serviceAccount: "istiod" }));
    const other = istiodDeployment({ namespace: "istio-system", serviceAccount: "istiod" }) as Record<string, object>;
    const labels = { app: "web" };
    await api.apply({
      ...other,
      metadata: { namespace: "istio-system", name: "web" },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: "web", image: "web:1" }] } },
      },
    });
    await using found = await follow("directory", RIGHTS);
    await found.until(({ meshes }) => meshes.length === 1);
    const pod = { namespace: "istio-system", ...(await api.podWith("istio-system", "app=istiod")) };
    const istiod = await found.directory.istiodOf(pod, bounded());
    assert.deepEqual([istiod.namespace, istiod.name], ["istio-system", "istiod"]);
    const web = { namespace: "istio-system", ...(await api.podWith("istio-system", "app=web")) };
    const refused = (given: typeof pod, message: RegExp) =>
      assert.rejects(found.directory.istiodOf(given, bounded()), { code: "permission_denied", message });
    await refused(web, /Deployment web, which is not a discovered istiod/);
    await refused({ ...pod, uid: web.uid }, /the token is of uid/);
    await refused({ ...pod, name: "gone" }, /does not exist/);
  });

  test("real discovery - where a right is missing, what can be read is reported and the rest says what is missing", async () => {
    await api.apply(istiodDeployment({ namespace: "istio-system", serviceAccount: "istiod" }), {
      ...istiodDeployment({ namespace: "istio-system", serviceAccount: "istiod" }),
      metadata: { namespace: "istio-system", name: "istiod-secret" },
    });
    const [deployments] = RIGHTS.everywhere ?? [];
    const configMaps = RIGHTS.everywhere?.at(-1);
    await using found = await follow("narrow", { everywhere: [deployments!, configMaps!] });
    assert.equal(names(await found.until(() => true)), "istio-system/istiod");
    const [left] = await found.discoverer.leftOut.until((each) => each.length > 0, bounded());
    assert.equal(left?.object, "Deployment istio-system/istiod-secret");
    assert.match(left.reason, /istio-secret.*forbidden.*configmaps/s);
  });
});
