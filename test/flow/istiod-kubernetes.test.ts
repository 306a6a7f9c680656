import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { LinkBook } from "../../agent/certs/links.ts";
import { callVault } from "../../demo/vault-setup.ts";
import { istiodAgentOptions } from "../../istiod-agent/config.ts";
import { runInitContainer, runSidecar } from "../../istiod-agent/modes.ts";
import {
  CertificateState,
  type IssuedCertificateStatus,
  type ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import { FakeServiceAccounts } from "../fakes/service-accounts.ts";
import { IstiodLinkWorld, type RunningAgent } from "../harness/istiod-link.ts";
import { KubernetesWorld, type KubernetesPod } from "../harness/kubernetes-pod.ts";
import { startProcess } from "../harness/process.ts";
import { eventually } from "../harness/wait.ts";
import { launchHere, untilLogged, type LogLine, type Running } from "./program.ts";

const FILES = ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"];
const { CERTIFICATE_STATE_ISSUED: ISSUED, CERTIFICATE_STATE_FAILED: FAILED } = CertificateState;
const CONFIG_MAP = "GET /api/v1/namespaces/gloo-mesh/configmaps/enterprise-agent-ca";
const TOKEN_REQUEST = "POST /api/v1/namespaces/istio-system/serviceaccounts/istiod-service-account/token";
const CALLER = "service account istio-system/istiod-service-account";
const CHART = "the rule is made by chart enterprise-agent with istiodSidecar";

/** A cluster whose agent runs, with an API server and one pod of istiod; a Vault where the test wants one. */
async function start({ vault = false } = {}) {
  const stack = new AsyncDisposableStack();
  const world = stack.use(await IstiodLinkWorld.start());
  const kubernetes = stack.use(await KubernetesWorld.start(world));
  const vaultUrl = vault ? (await world.startVault()).address : "http://127.0.0.1:1";
  const agent = await world.startAgent();
  const pod = await kubernetes.createPod(agent.address, vaultUrl);
  const asked = (request: string): number => kubernetes.api.requests.filter((each) => each === request).length;
  return { world, kubernetes, agent, pod, vaultUrl, asked, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

function launch(mode: "init-container" | "sidecar", { config }: KubernetesPod): Promise<Running> {
  const run = mode === "sidecar" ? runSidecar : runInitContainer;
  const spec = { name: "istiod-agent", main: ["istiod-agent/main.ts", mode], options: istiodAgentOptions } as const;
  return launchHere({ ...spec, flags: {}, run: (context) => run(config, context) }, "");
}

async function statusWhere(book: LinkBook, accept: (replica: ReplicaStatus) => boolean): Promise<ReplicaStatus> {
  const matches = ([status]: readonly IssuedCertificateStatus[]): boolean => status?.replicas.some(accept) ?? false;
  const statuses = await book.statuses.until(matches, AbortSignal.timeout(60_000));
  return statuses[0]?.replicas.find(accept) ?? assert.fail();
}

const isLinked = ({ book }: RunningAgent): boolean =>
  book.list().some(({ replicas }) => replicas.some(({ connected }) => connected));

const listed = async ({ cacertsDir }: KubernetesPod): Promise<string[]> =>
  (await readdir(cacertsDir)).filter((name) => name.endsWith(".pem")).sort();

const unlinked =
  (text: string) =>
  ({ msg, err }: LogLine): boolean =>
    msg === "no link to the agent; trying again" && (err?.message.includes(text) ?? false);

test("istiod-agent in a pod - istiod is held back for each thing that is missing, in any order, and let go at once", async () => {
  await using cluster = await start({ vault: true });
  const { world, kubernetes, agent, pod } = cluster;
  await using init = await launch("init-container", pod);
  const noToken = `${CALLER} may not create serviceaccounts/token "istiod-service-account" in namespace istio-system`;
  const refused = await untilLogged("token refused", init, unlinked(noToken));
  assert.equal(refused.err?.message, `${noToken}: ${CHART}.createRoleBinding: true`);
  assert.equal(refused.err.code, "permission_denied");
  kubernetes.grant({
    ...{ verb: "create", resource: "serviceaccounts/token" },
    ...{ namespace: "istio-system", name: "istiod-service-account" },
  });
  const noBundle = `${CALLER} may not get configmaps "enterprise-agent-ca" in namespace gloo-mesh: ${CHART}.createRole`;
  await untilLogged("bundle refused", init, unlinked(noBundle));
  kubernetes.grantChart();
  await untilLogged("no bundle", init, unlinked('configmaps "enterprise-agent-ca" not found'));
  await kubernetes.publishAgent();
  await eventually("linked", async () => isLinked(agent));
  assert.deepEqual(await listed(pod), []);
  world.order();
  assert.equal(await init.exited, 0);
  assert.deepEqual(await listed(pod), FILES);
  const replica = await statusWhere(agent.book, ({ state }) => state === ISSUED);
  assert.deepEqual([replica.podName, replica.podUid], [pod.name, pod.uid]);
});

test("istiod-agent in a pod - while the agent is away nobody asks the API server; a new agent's certificate is read", async () => {
  await using cluster = await start();
  const { world, kubernetes, agent, pod, asked } = cluster;
  kubernetes.grantChart();
  await kubernetes.publishAgent("enterprise-agent-0");
  await using sidecar = await launch("sidecar", pod);
  await eventually("linked", async () => isLinked(agent));
  assert.deepEqual([asked(TOKEN_REQUEST), asked(CONFIG_MAP)], [1, 1]);
  await agent.stop();
  await untilLogged("agent gone", sidecar, unlinked("ECONNREFUSED"));
  const again = await world.startAgent(agent.address);
  await untilLogged("agent unknown", sidecar, unlinked("certificate"));
  // The one that is gone has published its certificate too: both have one name.
  await kubernetes.publishAgent("enterprise-agent-1");
  await eventually("linked again", async () => isLinked(again));
  assert.equal(asked(TOKEN_REQUEST), 1);
  assert.ok(asked(CONFIG_MAP) >= 2, `${asked(CONFIG_MAP)} times`);
});

test("istiod-agent in a pod - a stream ends with its token, and the next one has a new token of the same pod", async () => {
  await using cluster = await start();
  const { kubernetes, agent, pod, asked } = cluster;
  kubernetes.api.longestSeconds = 3;
  kubernetes.grantChart();
  await kubernetes.publishAgent();
  await using sidecar = await launch("sidecar", pod);
  await eventually("third token", async () => asked(TOKEN_REQUEST) >= 3 && isLinked(agent));
  assert.equal(agent.book.list().flatMap(({ replicas }) => replicas).length, 1);
  assert.equal(asked(CONFIG_MAP), 1);
  const faults = (await sidecar.lines()).filter(({ level }) => level === "warn" || level === "error");
  assert.deepEqual(faults, []);
});

test("istiod-agent in a pod - a token that the agent refuses is replaced, and nothing shows it", async () => {
  await using cluster = await start();
  const { world, kubernetes, agent, pod, asked } = cluster;
  kubernetes.grantChart();
  await kubernetes.publishAgent();
  await world.trustTokensOf(await FakeServiceAccounts.create());
  await using sidecar = await launch("sidecar", pod);
  const refused = await untilLogged("token refused", sidecar, unlinked("token refused"));
  assert.equal(refused.err?.code, "unauthenticated");
  await eventually("another token", async () => asked(TOKEN_REQUEST) >= 2);
  await world.trustTokensOf(world.accounts);
  await eventually("linked", async () => isLinked(agent));
  assert.ok(!/eyJ/.test(JSON.stringify(await sidecar.lines())));
});

test("istiod-agent in a pod - tokenSecretRef without right or Secret is FAILED with the rule at both ends, then mended", async () => {
  await using cluster = await start({ vault: true });
  const { world, kubernetes, agent, pod } = cluster;
  kubernetes.grantChart();
  await kubernetes.publishAgent();
  const secret = { namespace: "gloo-mesh", name: "vault-token" };
  world.order({ vault: { auth: { $case: "tokenSecretRef", value: secret } } });
  await using sidecar = await launch("sidecar", pod);
  const told = await statusWhere(agent.book, ({ state }) => state === FAILED);
  const rule = `${CALLER} may not get secrets "vault-token" in namespace gloo-mesh`;
  const value = "tokenSecrets: [{namespace: gloo-mesh, name: vault-token}]";
  assert.deepEqual([told.error?.code, told.error?.message], ["permission_denied", `${rule}: ${CHART}.${value}`]);
  const logged = await untilLogged("failed", sidecar, ({ err }) => err?.code === "permission_denied");
  assert.equal(logged.err?.message, told.error?.message);
  kubernetes.grant({ verb: "get", resource: "secrets", ...secret });
  const absent = await statusWhere(agent.book, ({ error }) => error?.code === "not_found");
  assert.match(
    absent.error?.hint ?? "",
    /^create secret gloo-mesh\/vault-token with the token of vault under key token$/,
  );
  kubernetes.api.objects.set("secrets gloo-mesh/vault-token", { other: "eA==" });
  const empty = await statusWhere(agent.book, ({ error }) => error?.code === "failed_precondition");
  assert.match(empty.error?.message ?? "", /has nothing under key "token"/);
  const token = Buffer.from(`${world.vault.token}\n`).toString("base64");
  kubernetes.api.objects.set("secrets gloo-mesh/vault-token", { token });
  await statusWhere(agent.book, ({ state }) => state === ISSUED);
});

test("istiod-agent in a pod - serviceAccountRef logs in with a token of that account, where the right is given", async () => {
  await using cluster = await start({ vault: true });
  const { world, kubernetes, agent, pod } = cluster;
  kubernetes.grantChart();
  await kubernetes.publishAgent();
  const account = { namespace: "vault-login", name: "login" };
  await callVault(world.vault, "POST", "auth/kubernetes/role/gen-int-ca-istio", {
    ...{ bound_service_account_names: account.name, bound_service_account_namespaces: account.namespace },
    policies: "gen-int-ca-istio",
  });
  const location = { $case: "serviceAccountRef", value: account };
  const kubernetesAuth = { mountPath: "", role: "gen-int-ca-istio", serviceAccountLocation: location };
  world.order({ vault: { auth: { $case: "kubernetesAuth", value: kubernetesAuth } } });
  await using _sidecar = await launch("sidecar", pod);
  const told = await statusWhere(agent.book, ({ state }) => state === FAILED);
  const rule = `${CALLER} may not create serviceaccounts/token "login" in namespace vault-login`;
  assert.equal(told.error?.message, `${rule}: ${CHART}.serviceAccounts: [{namespace: vault-login, name: login}]`);
  kubernetes.grant({ verb: "create", resource: "serviceaccounts/token", ...account });
  await statusWhere(
    agent.book,
    ({ error }) => error?.hint.includes("create service account vault-login/login") ?? false,
  );
  kubernetes.api.serviceAccounts.add("vault-login/login");
  await statusWhere(agent.book, ({ state }) => state === ISSUED);
});

test("istiod-agent in a pod - a native sidecar's startup probe passes with the files, readiness depends on nothing", async () => {
  await using cluster = await start({ vault: true });
  const { world, kubernetes, pod } = cluster;
  await using sidecar = await launch("sidecar", pod);
  const { listen } = await untilLogged("monitor", sidecar, ({ msg }) => msg === "serving metrics");
  const probe = async (path: string): Promise<string> => {
    const response = await fetch(`http://${String(listen)}${path}`);
    return `${response.status} ${await response.text()}`;
  };
  await untilLogged("waiting", sidecar, unlinked("may not create"));
  assert.match(await probe("/startupz"), /^503 there is no certificate yet: service account .* may not create/);
  for (const path of ["/readyz", "/livez"]) assert.equal(await probe(path), "200 ok\n");
  kubernetes.grantChart();
  await kubernetes.publishAgent();
  world.order();
  await eventually("started", async () => (await probe("/startupz")) === "200 ok\n");
  assert.deepEqual(await listed(pod), FILES);
});

test("istiod-agent in a pod - both commands need the guide's variables alone, and write nothing beside the files", async () => {
  await using cluster = await start({ vault: true });
  const { world, kubernetes, pod } = cluster;
  kubernetes.grantChart();
  await kubernetes.publishAgent();
  world.order();
  const run = (mode: string) => {
    const confined = ["--permission", "--allow-fs-read=*", `--allow-fs-write=${pod.cacertsDir}`];
    const args = [...confined, join(import.meta.dirname, "../../istiod-agent/main.ts"), mode, "--log-level", "debug"];
    const logFile = world.folder.file(`${mode}.log`);
    return startProcess({ name: mode, command: process.execPath, args, env: pod.env, logFile });
  };
  await using init = await run("init-container");
  assert.deepEqual(await init.exited, { code: 0, signal: null }, await init.log());
  assert.deepEqual(await listed(pod), FILES);
  await using sidecar = await run("sidecar");
  await eventually("adopted", async () => (await sidecar.log()).includes("adopted the certificate found"));
  await eventually("linked", async () => (await sidecar.log()).includes("linked to the agent"));
  const before = performance.now();
  assert.deepEqual(await sidecar.stop(), { code: 0, signal: null });
  const tookMs = performance.now() - before;
  assert.ok(tookMs < 3_000, `stopped after ${tookMs} ms`);
  const key = await readFile(join(pod.cacertsDir, "ca-key.pem"), "utf8");
  const logs = (await init.log()) + (await sidecar.log());
  assert.ok(!logs.includes(key.split("\n")[1] ?? key) && !/eyJ|hvs\./.test(logs));
});
