/** The secrets that our programs have had, by the records of those who gave them: Vault and the API server. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { opensslKeyForms } from "../harness/openssl.ts";
import type { Secrets } from "../harness/secrets.ts";
import type { Cluster } from "./cluster.ts";
import { istiodPods } from "./judge.ts";
import { AUDIT_LOG } from "./programs.ts";
import { vault } from "./vault.ts";

const VAULT_LOG = "/home/vault/audit.log";

/** From now on Vault keeps what it gives, until it is made anew. The API server does so anyway. */
export async function startAudit(cluster: Cluster): Promise<void> {
  await vault(cluster, ["audit", "enable", "file", `file_path=${VAULT_LOG}`, "log_raw=true"]);
}

/**
 * What must be nowhere else: each private key that Vault has made or istiod has in use, in both its forms; each token of
 * our logins; the tokens we logged in with; and those that accounts of istiod have requested. By what messages call them.
 */
export async function knownSecrets(cluster: Cluster): Promise<Secrets> {
  const texts = new Set([...(await givenByVault(cluster)), ...(await tokensRequested(cluster))]);
  for (const key of [...(await keysInUse(cluster)), ...texts]) {
    if (key.includes("PRIVATE KEY")) for (const form of await opensslKeyForms(key)) texts.add(form);
  }
  return Object.fromEntries([...texts].map((text, index) => [`${kindOf(text)} ${index + 1} of ${cluster.name}`, text]));
}

/** What a secret is by its beginning: a private key, a token of Vault or one of Kubernetes. */
export function kindOf(secret: string): string {
  if (secret.includes("PRIVATE KEY")) return "key";
  return secret.startsWith("hv") ? "vault token" : "service account token";
}

const SECRET_FIELDS = ["client_token", "jwt", "private_key"];

/** Tokens and keys of each request and answer that Vault has seen, but of its administrator. */
async function givenByVault(cluster: Cluster): Promise<string[]> {
  const log = await cluster.exec({ namespace: "vault", pod: "vault-0" }, ["cat", VAULT_LOG]);
  const found: string[] = [];
  for (const line of log.split("\n").filter(Boolean)) {
    JSON.parse(line, (key, value: unknown) => {
      if (SECRET_FIELDS.includes(key) && typeof value === "string" && value.length > "root".length) found.push(value);
      return value;
    });
  }
  return found;
}

interface AuditEvent {
  readonly user: { readonly username: string };
  readonly responseObject?: { readonly status?: { readonly token?: string } };
}

async function tokensRequested(cluster: Cluster): Promise<string[]> {
  const log = await readFile(join(cluster.plan.directory, AUDIT_LOG), "utf8");
  const events = log
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as AuditEvent);
  return events.flatMap(({ user, responseObject }) => {
    const token = responseObject?.status?.token;
    return token !== undefined && user.username.startsWith("system:serviceaccount:istio-system:istiod") ? [token] : [];
  });
}

async function keysInUse(cluster: Cluster): Promise<string[]> {
  const pods = await istiodPods(cluster);
  return Promise.all(
    pods.map(async ({ metadata: { name } }) =>
      readFile(join(await cluster.volumePath("istio-system", name, "cacerts"), "ca-key.pem"), "utf8"),
    ),
  );
}
