import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { eventually } from "../harness/wait.ts";
import { REFERENCES } from "./images/foreign.ts";
import { useClusters } from "./suite.ts";
import { vault } from "./vault.ts";

const PROBE = { namespace: "probe", pod: "probe" };

/** As istiod runs: its user, nothing writable but memory, a token for somebody else. */
const probe = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: PROBE.pod, namespace: PROBE.namespace },
  spec: {
    securityContext: { runAsUser: 1337, runAsGroup: 1337, fsGroup: 1337 },
    terminationGracePeriodSeconds: 0,
    containers: [
      {
        name: "probe",
        image: REFERENCES.busybox,
        command: ["/bin/sleep", "inf"],
        securityContext: { readOnlyRootFilesystem: true },
        volumeMounts: [
          { name: "memory", mountPath: "/memory" },
          { name: "token", mountPath: "/token" },
        ],
      },
    ],
    volumes: [
      { name: "memory", emptyDir: { medium: "Memory" } },
      {
        name: "token",
        projected: { sources: [{ serviceAccountToken: { audience: "somebody", path: "token" } }] },
      },
    ],
  },
};

const clusters = useClusters({
  until: "vault",
  setUp: async ({ clusters: [one] }) => {
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: PROBE.namespace } };
    await one?.apply(namespace, probe);
    const args = ["wait", "--for=condition=Ready", "pod/probe", "--namespace", PROBE.namespace, "--timeout=60s"];
    await one?.kubectl(args, { timeoutMs: 65_000 });
  },
  tearDown: async ({ clusters: [one] }) => {
    await one?.kubectl(["delete", "pod", PROBE.pod, "--namespace", PROBE.namespace]);
    await one?.kubectl(["delete", "namespace", PROBE.namespace, "--wait=false"]);
  },
});
const { skip } = clusters;
const options = { skip, timeout: 120_000 };

test("clusters - both nodes are ready, and each cluster reaches the other's node", options, async () => {
  for (const cluster of clusters.fleet().clusters) {
    const nodes = await cluster.kubectl(["get", "nodes", "--no-headers"]);
    assert.match(nodes, new RegExp(`^${cluster.name}-node\\s+Ready\\s`));
  }
  const connect = (port: number) => [
    ...["sh", "-c", 'nc -w 3 "$0" "$1" </dev/null'],
    ...[clusters.cluster(2).nodeAddress, String(port)],
  ];
  await clusters.cluster(1).exec(PROBE, connect(6443));
  await assert.rejects(clusters.cluster(1).exec(PROBE, connect(6444)));
});

test(
  "clusters - a pod runs as istiod's user, with a projected token and a volume in memory alone",
  options,
  async () => {
    const one = clusters.cluster(1);
    assert.match(await one.exec(PROBE, ["id"]), /^uid=1337 gid=1337/);
    await assert.rejects(one.exec(PROBE, ["touch", "/x"]), /Read-only file system/);
    assert.match(await one.exec(PROBE, ["mount"]), /^tmpfs on \/memory type tmpfs/m);
    await one.exec(PROBE, ["sh", "-c", "echo kept >/memory/x"]);
    const [, claims = ""] = (await one.exec(PROBE, ["cat", "/token/token"])).split(".");
    const { aud, sub } = JSON.parse(Buffer.from(claims, "base64url").toString()) as Record<string, unknown>;
    assert.deepEqual({ aud, sub }, { aud: ["somebody"], sub: "system:serviceaccount:probe:default" });
    const volume = await one.volumePath(PROBE.namespace, PROBE.pod, "memory");
    assert.equal(await readFile(join(volume, "x"), "utf8"), "kept\n");
  },
);

test("clusters - a pod logs in to Vault by its token, under the name of the guide", options, async () => {
  const one = clusters.cluster(1);
  await vault(one, ["auth", "enable", "-path=probe", "kubernetes"]);
  await using disabled = {
    [Symbol.asyncDispose]: async () => {
      await vault(one, ["auth", "disable", "probe"]);
    },
  };
  assert.ok(disabled);
  const host = "kubernetes_host=https://kubernetes.default.svc";
  await vault(one, ["write", "auth/probe/config", host]);
  const bound = ["bound_service_account_names=default", "bound_service_account_namespaces=probe"];
  await vault(one, ["write", "auth/probe/role/probe", ...bound, "policies=default", "audience=somebody"]);
  const login = `wget -q -O - --post-data "{\\"role\\":\\"probe\\",\\"jwt\\":\\"$(cat /token/token)\\"}" http://vault.vault:8200/v1/auth/probe/login`;
  const { auth } = JSON.parse(await one.exec(PROBE, ["sh", "-c", login])) as { auth: { metadata: object } };
  assert.equal((auth.metadata as Record<string, string>)["service_account_name"], "default");
});

test("clusters - packets to Vault are dropped while they are blocked, and pass again after", options, async () => {
  const one = clusters.cluster(1);
  const ask = ["timeout", "2", "wget", "-q", "-O", "-", "http://vault.vault:8200/v1/sys/health"];
  assert.match(await one.exec(PROBE, ask), /"sealed":false/);
  {
    await using blocked = await one.block({ port: 8200 });
    assert.ok(blocked);
    await assert.rejects(one.exec(PROBE, ask), /exit code 143/);
  }
  assert.match(await one.exec(PROBE, ask), /"sealed":false/);
});

test("clusters - what is stored is seen past the API server", options, async () => {
  const one = clusters.cluster(1);
  await one.kubectl(["create", "secret", "generic", "planted", "--from-literal=x=planted-in-etcd"]);
  const stored = await one.dumpEtcd();
  await one.kubectl(["delete", "secret", "planted"]);
  const found = stored.filter(({ value }) => value.includes("planted-in-etcd")).map(({ key }) => key);
  assert.deepEqual(found, ["/registry/secrets/default/planted"]);
});

test("clusters - kubelet and API server are stopped and started, and pods go on", options, async () => {
  const one = clusters.cluster(1);
  await one.stop("kubelet");
  await one.stop("kube-apiserver");
  assert.deepEqual(await one.missing(), ["kube-apiserver", "kubelet"]);
  await one.start("kube-apiserver");
  await one.start("kubelet");
  await eventually("exec by the new kubelet", () => one.exec(PROBE, ["true"]).then(() => true));
  const { status } = await one.get<{ status: { containerStatuses: { restartCount: number }[] } }>(
    ...["pod", PROBE.pod, "--namespace", PROBE.namespace],
  );
  assert.deepEqual(
    status.containerStatuses.map(({ restartCount }) => restartCount),
    [0],
  );
});
