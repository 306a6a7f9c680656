import type { RegisterClusterResponse } from "../../proto/gen/admin/v1/admin.ts";
import { apply } from "../../common/kube/apply.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { type Cluster, KINDS } from "./cluster.ts";

/** Names of the reference. */
export const ROOT_SECRET = "relay-root-tls-secret";
export const TOKEN_SECRET = "relay-identity-token-secret";

/** Marks a token that may be deleted after its use, since nobody else keeps it. */
const CREATED_BY = "relay.mesh.gloo.solo.io/created-by";
const FIELD_MANAGER = "meshctl";

interface Secret extends KubeObject {
  /** Base64. */
  readonly data?: Readonly<Record<string, string>>;
}

/** Makes our namespace where there is none. */
export async function ensureNamespace(cluster: Cluster, signal: AbortSignal): Promise<void> {
  const name = cluster.namespace;
  if (await cluster.find(KINDS.namespace, { name }, signal)) return;
  const application = { type: KINDS.namespace, metadata: { name }, fields: {}, fieldManager: FIELD_MANAGER };
  await apply(cluster.client, application, signal);
}

/**
 * Refuses what `storeSecrets` would have to overwrite and is not ours: a token that somebody else keeps. To be called
 * before a token is made, which would be lost.
 */
export async function checkSecrets(cluster: Cluster, signal: AbortSignal): Promise<void> {
  const token = await secretOf(cluster, TOKEN_SECRET, signal);
  if (!token || token.metadata.labels?.[CREATED_BY] === FIELD_MANAGER) return;
  throw new MeshError("conflict", `${describe(cluster, TOKEN_SECRET)} is there and is not of meshctl`, {
    hint: "delete it, or give it to the agent's chart as it is and register without --remote-context",
  });
}

/** Stores what the agent enrols with. Keys that others keep in these Secrets stay. */
export async function storeSecrets(
  cluster: Cluster,
  { token, trustBundle }: Pick<RegisterClusterResponse, "token" | "trustBundle">,
  signal: AbortSignal,
): Promise<void> {
  await storeRoot(cluster, trustBundle, signal);
  const labels = { [CREATED_BY]: FIELD_MANAGER };
  await applySecret(cluster, { name: TOKEN_SECRET, labels, data: { token } }, signal);
}

/** Where the server itself lives its own Secret holds the same root, beside the root's key: then nothing is written. */
async function storeRoot(cluster: Cluster, trustBundle: string, signal: AbortSignal): Promise<void> {
  const before = await secretOf(cluster, ROOT_SECRET, signal);
  const stored = Buffer.from(before?.data?.["ca.crt"] ?? "", "base64").toString("utf8");
  if (rootsOf(stored) === rootsOf(trustBundle)) return;
  if (before?.data?.["tls.key"] !== undefined) {
    throw new MeshError("conflict", `${describe(cluster, ROOT_SECRET)} has the root and the key of another server`, {
      hint: "is this the right --remote-context? an agent belongs to one management server",
    });
  }
  await applySecret(cluster, { name: ROOT_SECRET, data: { "ca.crt": trustBundle } }, signal);
}

/** The roots in one order: which of them signs now is not the Secret's to tell. */
const rootsOf = (pem: string): string =>
  pem
    .trim()
    .split(/(?<=-----END CERTIFICATE-----)\s*/)
    .sort()
    .join("\n");

interface SecretContent {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly data: Readonly<Record<string, string>>;
}

async function applySecret(
  cluster: Cluster,
  { name, labels, data }: SecretContent,
  signal: AbortSignal,
): Promise<void> {
  const encoded = Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
  const metadata = { name, namespace: cluster.namespace, ...(labels ? { labels } : {}) };
  const fields = { data: Object.fromEntries(encoded) as Record<string, string> };
  // Whoever had these values had an older registration's.
  await apply(
    cluster.client,
    { type: KINDS.secret, metadata, fields, fieldManager: FIELD_MANAGER, force: true },
    signal,
  );
}

const secretOf = (cluster: Cluster, name: string, signal: AbortSignal): Promise<Secret | undefined> =>
  cluster.find<Secret>(KINDS.secret, { namespace: cluster.namespace, name }, signal);

const describe = (cluster: Cluster, name: string): string => `secret ${cluster.namespace}/${name} of ${cluster.title}`;
