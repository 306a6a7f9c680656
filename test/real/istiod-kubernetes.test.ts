import assert from "node:assert/strict";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { KubernetesTokenReviewer } from "../../agent/certs/kubernetes-token-reviewer.ts";
import type { LinkBook } from "../../agent/certs/links.ts";
import { KubeClient } from "../../common/kube/client.ts";
import { tokenReviews } from "../../common/kube/token-review.ts";
import { applyVaultSetup, callVault } from "../../demo/vault-setup.ts";
import {
  CertificateState,
  type IssuedCertificateStatus,
  type ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import { API_SERVER_TOOLS, startApiServer, type ApiServer, type PodRef } from "../harness/api-server.ts";
import { IstiodLinkWorld, type RunningAgent } from "../harness/istiod-link.ts";
import { ISTIOD_TOOLS, startIstiod } from "../harness/istiod.ts";
import { CHART_GRANTS } from "../harness/kubernetes-pod.ts";
import { skipWithout } from "../harness/needs.ts";
import { freePort } from "../harness/ports.ts";
import { startProcess, type RunningProcess } from "../harness/process.ts";
import { startVault, vaultTools, type RealVault } from "../harness/vault.ts";
import { eventually } from "../harness/wait.ts";
import { grantByName } from "./grant.ts";
import { istiodDeployment } from "./istiod-deployment.ts";

const MAIN = join(import.meta.dirname, "../../istiod-agent/main.ts");
const ACCOUNT = { namespace: "istio-system", name: "istiod-service-account" };
const CALLER = "service account istio-system/istiod-service-account";
const { CERTIFICATE_STATE_FINISHED: FINISHED, CERTIFICATE_STATE_FAILED: FAILED } = CertificateState;

const skip = skipWithout([...API_SERVER_TOOLS, ...ISTIOD_TOOLS, ...vaultTools()]);

suite("real api server, istiod-agent", { skip }, () => {
  const stack = new AsyncDisposableStack();
  let api: ApiServer;
  let vault: RealVault;
  let world: IstiodLinkWorld;
  let agent: RunningAgent;
  let pod: PodRef;
  let env: Record<string, string>;
  let reviewer: KubernetesTokenReviewer;

  before(async () => {
    world = stack.use(await IstiodLinkWorld.start());
    [api, vault] = await Promise.all([startApiServer(), startVault()]);
    stack.use(api);
    stack.use(vault);
    const client = KubeClient.open(api.kubeconfig);
    stack.defer(() => client.close());
    reviewer = new KubernetesTokenReviewer(tokenReviews(client));
    await api.createServiceAccount(ACCOUNT.namespace, ACCOUNT.name);
    await api.createServiceAccount("vault-login", "login");
    await api.kubectl(["create", "namespace", "gloo-mesh"]);
    await api.apply(istiodDeployment({ namespace: ACCOUNT.namespace, serviceAccount: ACCOUNT.name }));
    const { name, uid } = await api.podWith(ACCOUNT.namespace, "app=istiod");
    pod = { name, uid };
    const access = { address: vault.address, token: vault.rootToken };
    const reviewerJwt = await api.createTokenReviewer("vault", "vault");
    await applyVaultSetup(access, {
      rootBundlePem: world.root.bundlePem,
      kubernetes: { host: api.url, caCertPem: await readFile(api.caFile, "utf8"), reviewerJwt },
      serviceAccountNames: [ACCOUNT.name],
    });
    agent = await startAgent(`127.0.0.1:${await freePort()}`);
    env = await podEnvironment();
  });
  after(() => stack.disposeAsync());

  const startAgent = (listen: string): Promise<RunningAgent> => world.startAgent(listen, reviewer);

  /** What a kubelet and the guide give the pod, and where this machine is none. */
  async function podEnvironment(): Promise<Record<string, string>> {
    const [cacerts, account] = [world.folder.file("cacerts"), world.folder.file("account")];
    await mkdir(cacerts, { mode: 0o700 });
    await mkdir(account, { mode: 0o700 });
    const { namespace, name: serviceAccount } = ACCOUNT;
    await writeFile(join(account, "token"), await api.createToken({ namespace, serviceAccount, pod }));
    await copyFile(api.caFile, join(account, "ca.crt"));
    const { hostname, port } = new URL(api.url);
    return {
      ...{
        PILOT_CERT_PROVIDER: "istiod",
        POD_NAME: pod.name,
        POD_NAMESPACE: namespace,
        SERVICE_ACCOUNT: serviceAccount,
      },
      ...{ KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port },
      ...{ MESH_RELAY_CACERTS_DIR: cacerts, MESH_RELAY_SERVICE_ACCOUNT_DIR: account },
      ...{ MESH_RELAY_AGENT_ADDRESS: agent.address, MESH_RELAY_MONITOR_LISTEN: "127.0.0.1:0" },
    };
  }

  async function launch(
    mode: "init-container" | "sidecar",
    more: Record<string, string> = {},
  ): Promise<RunningProcess> {
    const logFile = world.folder.file(`${mode}.log`);
    const args = [MAIN, mode, "--log-level", "debug"];
    return stack.use(
      await startProcess({ name: mode, command: process.execPath, args, env: { ...env, ...more }, logFile }),
    );
  }

  const logged = (running: RunningProcess, text: string): Promise<boolean> =>
    eventually(`"${text}" in the log`, async () => (await running.log()).includes(JSON.stringify(text).slice(1, -1)));

  async function statusWhere(book: LinkBook, accept: (replica: ReplicaStatus) => boolean): Promise<ReplicaStatus> {
    const matches = ([status]: readonly IssuedCertificateStatus[]): boolean => status?.replicas.some(accept) ?? false;
    const statuses = await book.statuses.until(matches, AbortSignal.timeout(120_000));
    return statuses[0]?.replicas.find(accept) ?? assert.fail();
  }

  const publish = async (key: string): Promise<void> =>
    api.apply({
      ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "gloo-mesh", name: "enterprise-agent-ca" } },
      data: { [key]: await readFile(world.agentCaFile, "utf8") },
    });

  const order = (more: object = {}, ttlDays = 20): void =>
    world.order({ vault: { server: vault.address, csrPath: "", ...more }, options: { ttlDays } });

  test("real istiod-agent - waits for Roles, bundle and order in turn, then lets istiod start at once", async () => {
    const init = await launch("init-container");
    const by = "the rule is made by chart enterprise-agent with istiodSidecar.createRoleBinding: true";
    const token = 'create serviceaccounts/token "istiod-service-account" in namespace istio-system';
    await logged(init, `${CALLER} may not ${token}: ${by}`);
    await grantByName(api, ACCOUNT, CHART_GRANTS[0]);
    await logged(init, `${CALLER} may not get configmaps "enterprise-agent-ca" in namespace gloo-mesh: ${by}`);
    await grantByName(api, ACCOUNT, CHART_GRANTS[1]);
    await logged(init, 'configmaps "enterprise-agent-ca" not found');
    await publish("enterprise-agent-0.pem");
    await eventually("linked", async () => agent.book.list().some(({ replicas }) => replicas.length > 0));
    assert.ok(init.running);
    order();
    assert.deepEqual(await init.exited, { code: 0, signal: null });
    const files = (await readdir(env["MESH_RELAY_CACERTS_DIR"] ?? "")).filter((name) => name.endsWith(".pem"));
    assert.deepEqual(files.sort(), ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"]);
  });

  test("real istiod-agent - proves by a token of its own that istiod signs, and survives an agent with another CA", async () => {
    const istiod = stack.use(
      await startIstiod({ apiServer: api, cacertsDirectory: env["MESH_RELAY_CACERTS_DIR"] ?? "" }),
    );
    const sidecar = await launch("sidecar", { MESH_RELAY_ISTIOD_ADDRESS: istiod.secureGrpcAddress });
    const replica = await statusWhere(agent.book, ({ state }) => state === FINISHED);
    assert.deepEqual([replica.podName, replica.podUid], [pod.name, pod.uid]);
    await agent.stop();
    agent = await startAgent(agent.address);
    await logged(sidecar, "no link to the agent; trying again");
    await publish("enterprise-agent-0.pem");
    const again = await statusWhere(agent.book, ({ state }) => state === FINISHED);
    assert.equal(again.serial, replica.serial);
  });

  test("real istiod-agent - a Secret and another account serve for a login where a rule names them, else FAILED says which", async () => {
    const secret = { namespace: "gloo-mesh", name: "vault-token" };
    const stringData = { token: vault.rootToken };
    await api.apply({ apiVersion: "v1", kind: "Secret", metadata: secret, stringData });
    order({ auth: { $case: "tokenSecretRef", value: secret } }, 21);
    const noSecret = await statusWhere(agent.book, ({ state }) => state === FAILED);
    assert.equal(
      noSecret.error?.message,
      `${CALLER} may not get secrets "vault-token" in namespace gloo-mesh: the rule is made by chart enterprise-agent ` +
        "with istiodSidecar.tokenSecrets: [{namespace: gloo-mesh, name: vault-token}]",
    );
    await grantByName(api, ACCOUNT, { verb: "get", resource: "secrets", ...secret });
    const first = await statusWhere(agent.book, ({ state }) => state === FINISHED);

    const account = { namespace: "vault-login", name: "login" };
    await callVault({ address: vault.address, token: vault.rootToken }, "POST", "auth/kubernetes/role/login", {
      ...{ bound_service_account_names: "login", bound_service_account_namespaces: "vault-login" },
      policies: "gen-int-ca-istio",
    });
    const serviceAccountLocation = { $case: "serviceAccountRef", value: account };
    order({ auth: { $case: "kubernetesAuth", value: { mountPath: "", role: "login", serviceAccountLocation } } }, 22);
    const noAccount = await statusWhere(agent.book, ({ state }) => state === FAILED);
    assert.match(noAccount.error?.message ?? "", /create serviceaccounts\/token "login" in namespace vault-login/);
    await grantByName(api, ACCOUNT, { verb: "create", resource: "serviceaccounts/token", ...account });
    await statusWhere(agent.book, ({ state, serial }) => state === FINISHED && serial !== first.serial);
  });

  test("real istiod-agent - a Vault role with another audience is named with the token's own", async () => {
    await callVault({ address: vault.address, token: vault.rootToken }, "POST", "auth/kubernetes/role/strict", {
      ...{ bound_service_account_names: ACCOUNT.name, bound_service_account_namespaces: ACCOUNT.namespace },
      ...{ policies: "gen-int-ca-istio", audience: "vault" },
    });
    order({ auth: { $case: "kubernetesAuth", value: { mountPath: "", role: "strict" } } }, 23);
    const { error } = await statusWhere(agent.book, ({ state }) => state === FAILED);
    assert.equal(error?.code, "vault_denied");
    assert.match(error.hint, /^the token is for https:\/\/kubernetes\.default\.svc: name that .*audience=/);
  });

  test("real istiod-agent - no log has a token or a key", async () => {
    const logs = await Promise.all(
      ["init-container.log", "sidecar.log"].map((name) => readFile(world.folder.file(name), "utf8")),
    );
    const key = await readFile(join(env["MESH_RELAY_CACERTS_DIR"] ?? "", "ca-key.pem"), "utf8");
    for (const text of logs) {
      assert.ok(text.length > 1_000);
      for (const secret of [vault.rootToken, key.split("\n")[1] ?? "", "eyJ", "hvs."])
        assert.ok(!text.includes(secret));
    }
  });
});
