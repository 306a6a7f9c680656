import assert from "node:assert/strict";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "../harness/folder.ts";
import { type AdminWorld, MESHCTL, type Outcome, runMeshctl, startAdminWorld } from "../flow/admin-world.ts";
import { type ApiServer, API_SERVER_TOOLS, startApiServer } from "../harness/api-server.ts";
import { runCommand } from "../harness/command.ts";
import { type ExecProxy, startExecProxy } from "../harness/exec-proxy.ts";
import { skipBecause, skipWithout } from "../harness/needs.ts";
import { eventually } from "../harness/wait.ts";

const CRDS = fileURLToPath(new URL("../../deploy/crds", import.meta.url));
const MESH = "istiod-istio-system-cluster-1";
const IMAGE = "gcr.io/gloo-mesh/enterprise-networking:0.1.0";
const CERTIFICATES = "certificates.mesh.gloo.solo.io/v1";

const hasJq = await runCommand("jq", ["--version"]).then(
  () => true,
  () => false,
);
const withoutJq = hasJq ? false : skipBecause("there is no jq on the PATH");

const deployment = (name: string, replicas: number) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { namespace: "gloo-mesh", name },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: {
        initContainers: [{ name: "init", image: "busybox" }],
        containers: [
          { name, image: IMAGE },
          { name: "proxy", image: `${IMAGE}@sha256:${"0".repeat(64)}` },
        ],
      },
    },
  },
});

/** Two contexts of one API server; what is exec'd in the server's pod runs here, against a server of the test. */
suite("real meshctl", { skip: skipWithout(API_SERVER_TOOLS) }, () => {
  let api: ApiServer;
  let world: AdminWorld;
  let proxy: ExecProxy;
  let mayExec = true;
  before(async () => {
    [api, world] = await Promise.all([startApiServer(), startAdminWorld()]);
    proxy = await startExecProxy({ management: api, remote: api }, ({ command }) =>
      mayExec ? localCommand(command) : undefined,
    );
    await api.kubectl(["create", "namespace", "gloo-mesh"]);
    await api.kubectl(["apply", "-f", CRDS]);
    await api.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
  });
  after(async () => {
    for (const each of [proxy, world, api]) await each[Symbol.asyncDispose]();
  });

  const localCommand = (command: readonly string[]): string[] =>
    command.map((word) => {
      if (word === "node") return process.execPath;
      if (word === "/app/meshctl.js") return MESHCTL;
      return word === "/run/mesh-relay/admin.sock" ? world.adminSocket : word;
    });
  const meshctl = (...args: string[]): Promise<Outcome> => runMeshctl(args, { KUBECONFIG: proxy.kubeconfig });
  const read = async (kind: string, name: string, namespace = "gloo-mesh") =>
    JSON.parse(await api.kubectl(["get", kind, name, "-n", namespace, "-o", "json"])) as {
      readonly metadata: Readonly<Record<string, Readonly<Record<string, string>>>>;
      readonly data: Readonly<Record<string, string>>;
    };
  const decoded = (text = ""): string => Buffer.from(text, "base64").toString("utf8");
  const register = (name: string, ...args: string[]): Promise<Outcome> =>
    meshctl("cluster", "register", name, "--remote-context", "remote", "--relay-server-address", "h:9900", ...args);

  async function startServer(): Promise<void> {
    await api.apply(deployment("enterprise-networking", 1));
    const { name } = await api.podWith("gloo-mesh", "app=enterprise-networking");
    const status = { conditions: [{ type: "Ready", status: "True" }] };
    await api.kubectl([
      "patch",
      "pod",
      name,
      "-n",
      "gloo-mesh",
      "--subresource",
      "status",
      "--type",
      "merge",
      "-p",
      JSON.stringify({ status }),
    ]);
  }

  test("real meshctl - says what stands where the server should be", async () => {
    const none = await meshctl("cluster", "list");
    assert.deepEqual([none.code, none.stdout], [1, ""]);
    assert.match(
      none.stderr,
      /^error: context management has no deployment enterprise-networking in namespace gloo-mesh\n/,
    );
    await api.apply(deployment("enterprise-networking", 1));
    await api.podWith("gloo-mesh", "app=enterprise-networking");
    const pending = await meshctl("cluster", "list", "--kubecontext", "management");
    assert.match(
      pending.stderr,
      /^error: no pod of enterprise-networking is ready .*\nhint: pod enterprise-networking-/,
    );
    const typo = await meshctl("cluster", "list", "--kubecontext", "managment");
    assert.equal(typo.code, 2);
    assert.match(typo.stderr, /has no context managment\nhint: it has management, remote\n$/);
  });

  test("real meshctl - tells versions in the reference's form", async () => {
    await api.apply(deployment("enterprise-networking", 1), deployment("a-first", 0));
    const { code, stdout, stderr } = await meshctl("version");
    assert.deepEqual([code, stderr], [0, ""]);
    const images = (name: string) => [
      { name, domain: "gcr.io", path: "gloo-mesh/enterprise-networking", version: "0.1.0" },
      { name: "proxy", domain: "gcr.io", path: "gloo-mesh/enterprise-networking", version: `sha256:${"0".repeat(64)}` },
    ];
    const parsed = JSON.parse(stdout) as { client: { version: string } };
    const components = ["a-first", "enterprise-networking"].map((name) => ({
      componentName: name,
      images: images(name),
    }));
    assert.equal(
      stdout,
      `${JSON.stringify({ client: { version: parsed.client.version }, server: [{ Namespace: "gloo-mesh", components }] }, undefined, 2)}\n`,
    );
    const away = await runMeshctl(["version"], { KUBECONFIG: await unreachable() });
    assert.equal(away.code, 0);
    assert.match(away.stdout, /"server": null\n\}\n$/);
    assert.match(away.stderr, /^the server's version is unknown: no connection to the api server/);
  });

  test("real meshctl - the guide's jq finds the server's version", { skip: withoutJq }, async () => {
    await api.apply(deployment("enterprise-networking", 1));
    const filter =
      '.server[].components[] | select(.componentName == "enterprise-networking") | .images[] | select(.name == "enterprise-networking") | .version';
    assert.equal(await runCommand("jq", ["-r", filter], { stdin: (await meshctl("version")).stdout }), "0.1.0\n");
  });

  async function unreachable(): Promise<string> {
    const file = world.folder.file("unreachable");
    const config = {
      clusters: [{ name: "c", cluster: { server: "http://127.0.0.1:1", "insecure-skip-tls-verify": true } }],
      users: [{ name: "u", user: {} }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    };
    await writeFile(file, JSON.stringify(config));
    return file;
  }

  test("real meshctl - refuses a registration that cannot come to anything, before a token is made", async () => {
    await startServer();
    const remote = ["--remote-context", "remote"];
    const pending = await meshctl("cluster", "register", "early", ...remote, "--relay-server-address", ":9900");
    assert.equal(pending.code, 2);
    assert.match(pending.stderr, /the host is missing/);
    const nowhere = await meshctl("cluster", "register", "early", "--relay-server-address", "h:9900");
    assert.match(nowhere.stderr, /--remote-context is not given/);
    const unaddressed = await meshctl("cluster", "register", "early", ...remote);
    assert.match(unaddressed.stderr, /--relay-server-address is not given/);

    await api.kubectl(["create", "namespace", "taken"]);
    await api.kubectl([
      "create",
      "secret",
      "generic",
      "relay-identity-token-secret",
      "-n",
      "taken",
      "--from-literal=token=x",
    ]);
    const taken = await register("early", "--remote-namespace", "taken");
    assert.match(
      taken.stderr,
      /^error: secret taken\/relay-identity-token-secret of context remote is there and is not of/,
    );
    assert.equal(world.identity.registry.get("early"), undefined);
  });

  test("real meshctl - registers a cluster: its record, its namespace, and the two secrets to enrol with", async () => {
    await startServer();
    const { code, stdout, stderr } = await register("cluster-2", "--remote-namespace", "agents");
    assert.equal(code, 0, stderr);
    const chart = "deploy/charts/enterprise-agent --namespace agents";
    const options = `--kubeconfig ${proxy.kubeconfig} --kube-context remote`;
    const values = "--set-string relay.cluster=cluster-2 --set-string relay.serverAddress=h:9900";
    assert.ok(stdout.includes(`\n  helm upgrade --install enterprise-agent ${chart} ${options} ${values}\n`), stdout);
    await read("kubernetescluster", "cluster-2");
    const root = await read("secret", "relay-root-tls-secret", "agents");
    assert.deepEqual(Object.keys(root.data), ["ca.crt"]);
    assert.equal(decoded(root.data["ca.crt"]), world.identity.pki.ca.trustBundlePem);
    const secret = await read("secret", "relay-identity-token-secret", "agents");
    assert.equal(secret.metadata["labels"]?.["relay.mesh.gloo.solo.io/created-by"], "meshctl");
    const token = decoded(secret.data["token"]);
    assert.match(token, /^rjt1\./);
    assert.ok(!`${stdout}${stderr}`.includes(token));
    const [call] = proxy.calls.slice(-1);
    assert.deepEqual([call?.namespace, call?.container], ["gloo-mesh", "enterprise-networking"]);

    // Again, with the agent enrolled or not: the token is another one, the record the same.
    assert.equal((await register("cluster-2", "--remote-namespace", "agents")).code, 0);
    assert.notEqual(
      (await read("secret", "relay-identity-token-secret", "agents")).data["token"],
      secret.data["token"],
    );
  });

  test("real meshctl - leaves the server's own root alone, and refuses another server's", async () => {
    await startServer();
    const secret = (caCrt: string) => ({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { namespace: "gloo-mesh", name: "relay-root-tls-secret" },
      stringData: { "ca.crt": caCrt, "tls.crt": caCrt, "tls.key": "the key" },
    });
    await api.apply(secret(world.identity.pki.ca.trustBundlePem));
    const before = await read("secret", "relay-root-tls-secret");
    assert.equal((await register("cluster-1")).code, 0);
    assert.deepEqual(await read("secret", "relay-root-tls-secret"), before);
    await api.apply(secret("another"));
    const other = await register("cluster-1");
    assert.match(other.stderr, /has the root and the key of another server\nhint: is this the right --remote-context/);
  });

  test("real meshctl - runs helm for the agent's chart, waits for the agent, and says what keeps it away", async () => {
    await startServer();
    await using folder = await temporaryFolder();
    const script = (text: string) =>
      writeFile(folder.file("helm"), `#!/bin/sh\n${text}\n`).then(() => chmod(folder.file("helm"), 0o755));
    const env = { KUBECONFIG: proxy.kubeconfig, PATH: `${folder.path}:${process.env["PATH"] ?? ""}` };
    const args = (name: string) => [
      ...["cluster", "register", name, "--remote-context", "remote", "--remote-namespace", "agents"],
      ...[
        "--relay-server-address",
        "h:9900",
        "--agent-chart",
        "the chart",
        "--agent-values",
        "v.yaml",
        "--timeout",
        "1s",
      ],
    ];
    await script(`printf '%s\\n' "$@" > ${folder.file("args")}`);
    const connected = await runMeshctl(args("cluster-1"), env);
    assert.deepEqual(
      [connected.code, connected.stdout],
      [0, "cluster cluster-1 is registered and its agent is connected\n"],
    );
    const given = (await readFile(folder.file("args"), "utf8")).split("\n");
    assert.deepEqual(given.slice(0, 6), [
      "upgrade",
      "--install",
      "enterprise-agent",
      "the chart",
      "--namespace",
      "agents",
    ]);
    assert.ok(given.includes("v.yaml"));
    const late = await runMeshctl(args("cluster-9"), env);
    assert.equal(late.code, 1);
    assert.match(
      late.stderr,
      /no agent has connected within 1 s: waiting for the agent to enrol\nhint: there is no deployment enterprise-agent/,
    );
    await script("echo no such chart >&2; exit 3");
    const failed = await runMeshctl(args("cluster-9"), env);
    assert.match(
      failed.stderr,
      /error: helm ended with 3: no such chart\nhint: the cluster is registered; .* 'the chart' /,
    );
  });

  test("real meshctl - every command reaches the server by exec, and says so when it may not", async () => {
    await startServer();
    const listed = await meshctl("relay", "sessions", "--kubecontext", "management");
    assert.match(listed.stdout, /^cluster-1 .*9\.9\.9/m);
    assert.match((await meshctl("status")).stdout, /^vm\.gloo-mesh/m);
    assert.match((await meshctl("intent", "cluster-1")).stdout, /^ic\.gloo-mesh/m);
    assert.match((await meshctl("relay", "explain", "cluster-1")).stdout, /^ic\.gloo-mesh: waiting$/m);
    assert.match(
      (await meshctl("relay", "diff", "cluster-1")).stdout,
      /^\? ic\.gloo-mesh: unknown; held unknown, wanted cdcd/m,
    );
    const operator = await meshctl("operator", "issue", "alice", "--out-dir", world.folder.path);
    assert.equal(operator.code, 0, operator.stderr);
    mayExec = false;
    try {
      const refused = await meshctl("relay", "sessions");
      assert.match(refused.stderr, /^error: api server refused to exec in pod gloo-mesh\/.*\(403\)\nhint: grant/);
    } finally {
      mayExec = true;
    }
  });

  test("real meshctl - deregisters: revokes, forgets the record, and touches nothing in the cluster", async () => {
    await startServer();
    assert.equal((await register("leaving", "--remote-namespace", "leaving")).code, 0);
    const gone = await meshctl("cluster", "deregister", "leaving");
    assert.match(
      gone.stdout,
      /^cluster leaving is revoked and forgotten; it was not connected\nnothing was removed in the cluster/,
    );
    assert.equal(world.identity.registry.get("leaving")?.state, "REVOKED");
    await assert.rejects(read("kubernetescluster", "leaving"), /NotFound/);
    await read("secret", "relay-root-tls-secret", "leaving");
    const unknown = await meshctl("cluster", "deregister", "stranger");
    assert.deepEqual([unknown.code, /stranger/.test(unknown.stderr)], [1, true]);
  });

  test("real meshctl - has a mesh restarted, and follows it to its end", async () => {
    const stray = await meshctl("mesh", "restart", "--mesh-name", MESH);
    assert.match(stray.stderr, /no certificate is kept for a mesh .*\nhint: there is none at all/);
    const metadata = { namespace: "gloo-mesh", name: MESH };
    await api.apply({ apiVersion: CERTIFICATES, kind: "IssuedCertificate", metadata, spec: {} });
    assert.match((await meshctl("mesh", "restart", "--mesh-name", "x")).stderr, new RegExp(`hint: there are ${MESH}`));
    const asked = await meshctl("mesh", "restart", "--mesh-name", MESH, "--json");
    const { requestedAt } = JSON.parse(asked.stdout) as { requestedAt: string };
    const directive = await read("podbouncedirective", MESH);
    assert.equal(directive.metadata["annotations"]?.["relay.mesh.gloo.solo.io/restart-requested-at"], requestedAt);

    const following = meshctl("mesh", "restart", "--mesh-name", MESH, "--wait", "--timeout", "30s");
    const requested = await eventually("the second request", async () => {
      const { metadata } = await read("podbouncedirective", MESH);
      const at = metadata["annotations"]?.["relay.mesh.gloo.solo.io/restart-requested-at"] ?? "";
      return at > requestedAt && at;
    });
    await agentSays(requested, { state: "BOUNCING_PODS", restarted: 1, remaining: 1, message: "waits for a gateway" });
    await agentSays(requested, { state: "FINISHED", restarted: 2, remaining: 0, unmanaged: ["bookinfo/bare"] });
    const done = await following;
    assert.deepEqual(
      [done.code, done.stdout.split("\n")],
      [0, [`restarted 2 pods of ${MESH}`, "not restarted, because nobody would replace it: bookinfo/bare", ""]],
    );
  });

  /** Writes what the agent would. */
  async function agentSays(restartRequestedAt: string, status: object): Promise<void> {
    const patch = ["patch", "podbouncedirective", MESH, "-n", "gloo-mesh", "--type", "merge", "-p"];
    await api.kubectl([...patch, JSON.stringify({ spec: { restartRequestedAt } })]);
    const { metadata } = await read("podbouncedirective", MESH);
    const observedGeneration = Number(metadata["generation"]);
    await api.kubectl([
      ...patch,
      JSON.stringify({ status: { observedGeneration, ...status } }),
      "--subresource",
      "status",
    ]);
  }
});
