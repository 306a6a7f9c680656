import { apply } from "../../common/kube/apply.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import { mergeObject } from "../../common/kube/objects.ts";
import type { KubeObject, ResourceType } from "../../common/kube/resource-type.ts";

/** Where istiod-agents find what verifies the agent: a key per replica, the certificates of its authority below it. */
export const PUBLISHED_CA = "enterprise-agent-ca";
const CONFIG_MAPS: ResourceType = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps" };
const SUFFIX = ".pem";

export interface PublishedCaOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Name of this replica, which its pod has too. */
  readonly replica: string;
}

/** Puts this replica's certificates beside those of the others; each owns its own key. */
export async function publishCa(
  { client, namespace, replica }: PublishedCaOptions,
  caPem: string,
  signal: AbortSignal,
): Promise<void> {
  const metadata = { namespace, name: PUBLISHED_CA };
  const fields = { data: { [caKeyOf(replica)]: caPem } };
  const fieldManager = `enterprise-agent-${replica}`.slice(0, 128);
  await apply(client, { type: CONFIG_MAPS, metadata, fields, fieldManager, force: true }, signal);
}

/** Key of a replica's certificates. */
export const caKeyOf = (replica: string): string => `${replica}${SUFFIX}`;

/** Keys of replicas that are no more. Keys of another form are somebody else's. */
export function staleKeys(configMap: KubeObject, isGone: (replica: string) => boolean): string[] {
  const { data = {} } = configMap as { readonly data?: Readonly<Record<string, string>> };
  return Object.keys(data).filter((key) => key.endsWith(SUFFIX) && isGone(key.slice(0, -SUFFIX.length)));
}

/** Takes the keys of replicas away that are no more. */
export async function pruneCa(
  { client, namespace }: Pick<PublishedCaOptions, "client" | "namespace">,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  if (keys.length === 0) return;
  const patch = { data: Object.fromEntries(keys.map((key) => [key, null])) };
  const place = { namespace, name: PUBLISHED_CA };
  await mergeObject(client, { type: CONFIG_MAPS, place, patch, fieldManager: "enterprise-agent" }, signal);
}
