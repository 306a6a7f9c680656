import type { KeyAndCertificate } from "../harness/openssl.ts";
import type { Cluster } from "./cluster.ts";
import { vault } from "./vault.ts";

const NAME = "gen-int-ca-istio";
const ACCOUNTS = "istiod,istiod-service-account";

/** Policy of the guide. */
const POLICY = `path "pki_int/*" {
capabilities = ["create", "read", "update", "delete", "list"]
}
path "pki/cert/ca" {
capabilities = ["read"]
}
path "pki/root/sign-intermediate" {
capabilities = ["create", "read", "update", "list"]
}
`;

const AUTH_CONFIG = `vault write auth/kubernetes/config \
  token_reviewer_jwt="$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)" \
  kubernetes_host="https://$KUBERNETES_PORT_443_TCP_ADDR:443" \
  kubernetes_ca_cert=@/var/run/secrets/kubernetes.io/serviceaccount/ca.crt`;

/** Sets a Vault up that is not yet, as the guide does, with this root. Both accounts of istiod may log in. */
export async function setUpVault(cluster: Cluster, root: KeyAndCertificate): Promise<void> {
  await vault(cluster, ["auth", "enable", "kubernetes"]);
  await cluster.exec({ namespace: "vault", pod: "vault-0" }, ["/bin/sh", "-c", AUTH_CONFIG]);
  await allowLogin(cluster, NAME);
  await vault(cluster, ["secrets", "enable", "pki"]);
  await vault(cluster, ["write", "pki/config/ca", "pem_bundle=-"], root.key + root.certificate);
  await vault(cluster, ["secrets", "enable", "-path", "pki_int", "pki"]);
  await vault(cluster, ["policy", "write", NAME, "-"], POLICY);
}

/** Logs accounts of istiod in whose tokens another cluster's API server reviews, under a mount of that cluster's name. */
export async function trustAccountsOf(cluster: Cluster, central: Cluster): Promise<void> {
  await vault(central, ["auth", "enable", "-path", cluster.name, "kubernetes"]);
  const token = await cluster.kubectl(["create", "token", "vault", "--namespace", "vault", "--duration", "24h"]);
  const ca = await cluster.kubectl([
    ...["get", "configmap", "kube-root-ca.crt", "--namespace", "vault", "--output", "jsonpath={.data.ca\\.crt}"],
  ]);
  await vault(
    central,
    ["write", `auth/${cluster.name}/config`, "-"],
    JSON.stringify({
      token_reviewer_jwt: token.trim(),
      kubernetes_host: `https://${cluster.nodeAddress}:6443`,
      kubernetes_ca_cert: ca,
    }),
  );
  await allowLogin(central, NAME, { mount: cluster.name });
}

/** Who may log in. Absent: both accounts of istiod, by any token of the API server. */
export interface Login {
  readonly account?: string;
  readonly namespace?: string;
  readonly audience?: string;
  readonly mount?: string;
}

/** A role with the guide's policy. */
export async function allowLogin(cluster: Cluster, role: string, login: Login = {}): Promise<void> {
  const { account = ACCOUNTS, namespace = "istio-system", audience, mount = "kubernetes" } = login;
  await vault(cluster, [
    ...["write", `auth/${mount}/role/${role}`, `bound_service_account_names=${account}`],
    ...[`bound_service_account_namespaces=${namespace}`, `policies=${NAME}`, "ttl=2400h"],
    ...(audience === undefined ? [] : [`audience=${audience}`]),
  ]);
}

/** A token with the guide's policy. */
export async function vaultToken(cluster: Cluster): Promise<string> {
  return (await vault(cluster, ["token", "create", "-policy", NAME, "-ttl", "1h", "-field", "token"])).trim();
}

/** Leaves a Vault that is not set up: it keeps all in memory, so a new pod has forgotten everything. */
export async function forgetVault(cluster: Cluster): Promise<void> {
  await cluster.kubectl(["delete", "pod", "vault-0", "--namespace", "vault"], { timeoutMs: 120_000 });
  await cluster.untilRolledOut("vault", "sts/vault");
}
