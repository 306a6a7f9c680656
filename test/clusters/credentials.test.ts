import assert from "node:assert/strict";
import { test } from "node:test";
import { opensslRoot, type KeyAndCertificate } from "../harness/openssl.ts";
import { eventually } from "../harness/wait.ts";
import { ALLOWED } from "../real/chart-rights.ts";
import { endOfRecord, requestsTo, type AuditedRequest } from "./audit.ts";
import type { Cluster } from "./cluster.ts";
import { allowLogin, forgetVault, setUpVault, trustAccountsOf, vaultToken } from "./guide-vault.ts";
import { agentValues, NAMESPACE, register, release } from "./install.ts";
import { patchIstiod, untilIstiodReady } from "./istiod.ts";
import { chainFrom, istiodPods, serialOf, verify, type Pod } from "./judge.ts";
import { applyVirtualMesh, installServerAlone, meshOf, pairOf, removeMesh, untilMeshReady } from "./mesh.ts";
import { RIGHTS_OF_CREDENTIALS, unusedRights } from "./rights.ts";
import { useClusters } from "./suite.ts";
import { mountToken, withoutRightToSecrets } from "./variants.ts";

const PATIENT = { timeoutMs: 120_000, intervalMs: 500 };
/** Where the Vault of the first cluster is reached from the other one. */
const VAULT_PORT = 31_820;
/** What a login is to be made with, in a namespace that is nobody's. */
const LOGIN = { namespace: "vault-login", name: "login" };
const TOKEN = { namespace: "vault-login", name: "vault-token" };

let root: KeyAndCertificate;
let begin = 0;

const clusters = useClusters({
  until: "bookinfo",
  setUp: async (fleet) => {
    const [one, two] = pairOf(fleet);
    begin = await endOfRecord(one);
    root = await opensslRoot("my-org");
    for (const cluster of [one, two]) await forgetVault(cluster);
    await setUpVault(one, root);
    await installServerAlone(fleet);
    await register({ kubeconfig: fleet.kubeconfig, server: one, cluster: one });
    await one.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: LOGIN.namespace } },
      { apiVersion: "v1", kind: "ServiceAccount", metadata: LOGIN },
      { apiVersion: "v1", kind: "Secret", metadata: TOKEN, stringData: { token: await vaultToken(one) } },
    );
    await allowLogin(one, "login", { account: LOGIN.name, namespace: LOGIN.namespace });
    await allowLogin(one, "mounted", { audience: "vault" });
  },
  tearDown: async (fleet) => {
    const [one] = pairOf(fleet);
    await one.kubectl(["delete", "namespace", LOGIN.namespace, "--ignore-not-found"]);
    await one.kubectl(["delete", "service", "vault-central", "--namespace", "vault", "--ignore-not-found"]);
    await removeMesh(fleet);
  },
});
const options = { skip: clusters.skip, timeout: 400_000 };
const one = (): Cluster => clusters.cluster(1);

/** Another life with each, so that a new intermediate is asked for. */
let ttlDays = 40;
const logInBy = (vault: object): Promise<void> =>
  applyVirtualMesh(clusters.fleet(), { meshes: [one()], ttlDays: (ttlDays -= 1), vault });

interface Replica {
  readonly podUid: string;
  readonly state: string;
  readonly serial?: string;
  readonly vaultServer?: string;
  readonly error?: { readonly code: string; readonly message: string };
}

/** What the certificate's status says of the one istiod pod that there is. */
async function replicaOf(cluster: Cluster): Promise<Replica | undefined> {
  const where = ["issuedcertificate", meshOf(cluster), "--namespace", NAMESPACE];
  const { status } = await cluster.get<{ status?: { replicas?: readonly Replica[] } }>(...where);
  const [pod] = await istiodPods(cluster);
  return status?.replicas?.find(({ podUid }) => podUid === pod?.metadata.uid);
}

const untilFailed = (message: RegExp): Promise<Replica> =>
  eventually(
    `FAILED by ${message.source}`,
    async () => {
      const replica = await replicaOf(one());
      return replica?.state === "FAILED" && message.test(replica.error?.message ?? "") && replica;
    },
    PATIENT,
  );

/** Waits until istiod signs with another intermediate than that one, and returns the new one's serial number. */
async function untilSignsAnew(before: string): Promise<string> {
  const serial = await eventually(
    "another intermediate",
    async () => {
      const now = await signingSerial(one());
      return now !== before && (await replicaOf(one()))?.state === "FINISHED" && now;
    },
    PATIENT,
  );
  return serial;
}

async function signingSerial(cluster: Cluster): Promise<string> {
  const [istiod] = (await istiodPods(cluster)) as [Pod];
  const chain = await chainFrom(cluster, istiod, root.certificate);
  await verify(chain.slice(0, -1), root.certificate);
  return serialOf(chain[1] ?? "");
}

/** Upgrades the agent's chart: these rights for istiod, beside those that it always needs. */
const grant = (rights: object): Promise<void> => {
  const values = agentValues(one(), one()) as { istiodSidecar: object };
  return release(one(), "enterprise-agent", { ...values, istiodSidecar: { ...values.istiodSidecar, ...rights } });
};

const used = async (request: Partial<AuditedRequest>): Promise<AuditedRequest[]> => {
  const entries = Object.entries({ user: "istio-system/istiod", isAllowed: true, ...request });
  return (await requestsTo(one(), begin)).filter((each) =>
    entries.every(([key, value]) => each[key as keyof AuditedRequest] === value),
  );
};

const byAccount = { kubernetesAuth: { role: "login", serviceAccountRef: LOGIN } };
const NO_ACCOUNT =
  /^service account istio-system\/istiod may not create serviceaccounts\/token "login" in namespace vault-login: the rule is made by chart enterprise-agent with istiodSidecar\.serviceAccounts: \[\{namespace: vault-login, name: login\}\]$/;
const NO_SECRET =
  /^service account istio-system\/istiod may not get secrets "vault-token" in namespace vault-login: the rule is made by chart enterprise-agent with istiodSidecar\.tokenSecrets: \[\{namespace: vault-login, name: vault-token\}\]$/;
let firstFailedMs = 0;

test(
  "credentials - serviceAccountRef: another account's token is used where the chart says so, else FAILED says which rule is missing",
  options,
  async () => {
    await logInBy({});
    await patchIstiod(one());
    await untilIstiodReady(one());
    const before = await signingSerial(one());
    await logInBy(byAccount);
    const { error } = await untilFailed(NO_ACCOUNT);
    firstFailedMs = performance.now();
    assert.equal(error?.code, "permission_denied");
    assert.equal(await signingSerial(one()), before, "what it had is in force");
    await grant({ serviceAccounts: [LOGIN] });
    await untilSignsAnew(before);
    assert.equal((await used({ verb: "create", resource: "serviceaccounts/token", ...LOGIN })).length, 1);
  },
);

test(
  "credentials - tokenSecretRef: a Secret's token is used where the chart says so, else FAILED says which rule is missing",
  options,
  async () => {
    const before = await signingSerial(one());
    // Istio's own role lets istiod read every Secret.
    await using _ = await withoutRightToSecrets(one());
    await logInBy({ kubernetesAuth: undefined, tokenSecretRef: TOKEN });
    assert.equal((await untilFailed(NO_SECRET)).error?.code, "permission_denied");
    await grant({ tokenSecrets: [TOKEN] });
    await untilSignsAnew(before);
    assert.ok((await used({ verb: "get", resource: "secrets", ...TOKEN })).length > 0);
  },
);

test(
  "credentials - a right that is taken away is missed at the next renewal, and counted as the same fault",
  options,
  async () => {
    // Events of one kind are counted once in a minute.
    await eventually("the minute", async () => performance.now() > firstFailedMs + 61_000, PATIENT);
    await logInBy(byAccount);
    await untilFailed(NO_ACCOUNT);
    const isCounted = async (): Promise<boolean> => {
      const unused = unusedRights(ALLOWED, await requestsTo(one(), begin)).map((right) => JSON.stringify(right));
      return RIGHTS_OF_CREDENTIALS.every((right) => !unused.includes(JSON.stringify(right)));
    };
    await eventually("the count", isCounted, PATIENT);
  },
);

test(
  "credentials - mountedSaPath and secretTokenKey: a token that is mounted, for a role of its own audience",
  options,
  async () => {
    await logInBy({
      kubernetesAuth: { role: "mounted", mountedSaPath: "/var/run/vault", secretTokenKey: "vault-jwt" },
    });
    await untilFailed(/\/var\/run\/vault\/vault-jwt/);
    const before = await signingSerial(one());
    await mountToken(one(), { directory: "/var/run/vault", key: "vault-jwt", audience: "vault" });
    await untilIstiodReady(one());
    await untilSignsAnew(before);
  },
);

test("credentials - one Vault serves both clusters, each by an auth mount of its own", options, async () => {
  const [near, far] = pairOf(clusters.fleet());
  await near.apply({
    ...{ apiVersion: "v1", kind: "Service", metadata: { name: "vault-central", namespace: "vault" } },
    spec: {
      ...{ type: "NodePort", selector: { "app.kubernetes.io/name": "vault" } },
      ports: [{ port: 8200, nodePort: VAULT_PORT }],
    },
  });
  await trustAccountsOf(far, near);
  const server = `http://${near.nodeAddress}:${VAULT_PORT}`;
  await register(
    { kubeconfig: clusters.fleet().kubeconfig, server: near, cluster: far },
    { vault: { server, mountPath: `/v1/auth/${far.name}` } },
  );
  await applyVirtualMesh(clusters.fleet());
  await patchIstiod(far);
  await untilIstiodReady(far);
  await untilMeshReady([near, far]);
  const told = await Promise.all([near, far].map(async (cluster) => (await replicaOf(cluster))?.vaultServer));
  assert.deepEqual(told, ["http://vault.vault:8200", server]);
  // The Vault of the other cluster was never set up: there is one root and one Vault.
  const serials = await Promise.all([near, far].map(signingSerial));
  assert.equal(new Set(serials).size, 2);
});
