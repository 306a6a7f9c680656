import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Cluster } from "./cluster.ts";

/** Token with which the tests administer the development Vault. */
export const VAULT_ROOT_TOKEN = "root";

/** Vault in its development mode, as the guide's `helm install … --set server.dev.enabled=true` leaves it: not set up. */
export async function installVault(cluster: Cluster): Promise<void> {
  await cluster.apply(await readFile(join(import.meta.dirname, "manifests/vault.yaml"), "utf8"));
  await cluster.untilRolledOut("vault", "sts/vault");
}

/** Runs the command line of Vault in its pod, as root of it. */
export function vault(cluster: Cluster, args: readonly string[], stdin?: string): Promise<string> {
  const options = stdin === undefined ? {} : { stdin };
  return cluster.exec({ namespace: "vault", pod: "vault-0" }, ["vault", ...args], options);
}

/** Seals Vault until it is disposed. */
export async function seal(cluster: Cluster): Promise<AsyncDisposable> {
  const log = await cluster.logs({ namespace: "vault", pod: "vault-0" });
  const key = /^Unseal Key: (\S+)$/m.exec(log)?.[1] ?? "";
  await vault(cluster, ["operator", "seal"]);
  return {
    [Symbol.asyncDispose]: async () => {
      await vault(cluster, ["operator", "unseal", key]);
    },
  };
}

/** How many certificates its root has signed by now. */
export async function signedByVault(cluster: Cluster): Promise<number> {
  return (JSON.parse(await vault(cluster, ["list", "-format=json", "pki/certs"])) as string[]).length;
}
