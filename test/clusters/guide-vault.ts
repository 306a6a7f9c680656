import type { KeyAndCertificate } from "../harness/openssl.ts";
import type { Cluster } from "./cluster.ts";
import { vault } from "./vault.ts";

const NAME = "gen-int-ca-istio";

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
  await vault(cluster, [
    ...["write", `auth/kubernetes/role/${NAME}`, "bound_service_account_names=istiod,istiod-service-account"],
    ...["bound_service_account_namespaces=istio-system", `policies=${NAME}`, "ttl=2400h"],
  ]);
  await vault(cluster, ["secrets", "enable", "pki"]);
  await vault(cluster, ["write", "pki/config/ca", "pem_bundle=-"], root.key + root.certificate);
  await vault(cluster, ["secrets", "enable", "-path", "pki_int", "pki"]);
  await vault(cluster, ["policy", "write", NAME, "-"], POLICY);
}

/** Leaves a Vault that is not set up: it keeps all in memory, so a new pod has forgotten everything. */
export async function forgetVault(cluster: Cluster): Promise<void> {
  await cluster.kubectl(["delete", "pod", "vault-0", "--namespace", "vault"], { timeoutMs: 120_000 });
  await cluster.untilRolledOut("vault", "sts/vault");
}
