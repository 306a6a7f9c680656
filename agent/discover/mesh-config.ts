import { parse } from "yaml";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { leftOut, read, type Reading } from "./reading.ts";

/** What discovery reads of Istio's mesh configuration. */
export interface MeshConfig {
  readonly trustDomain: string;
  /** undefined: istiod's own. */
  readonly rootNamespace: string | undefined;
  readonly smartDnsProxying: boolean;
}

/** What istiod takes where its ConfigMap is not there. */
export const DEFAULT_MESH_CONFIG: MeshConfig = {
  trustDomain: "cluster.local",
  rootNamespace: undefined,
  smartDnsProxying: false,
};

/** As SPIFFE allows it: it becomes part of a URI. */
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/i;

interface YamlMeshConfig {
  readonly trustDomain?: unknown;
  readonly rootNamespace?: unknown;
  readonly defaultConfig?: { readonly proxyMetadata?: { readonly ISTIO_META_DNS_CAPTURE?: unknown } | null } | null;
}

/** Reads key `mesh` of the ConfigMap; without the key it is istiod's default. Never throws. */
export function readMeshConfig(object: KubeObject): Reading<MeshConfig> {
  const { metadata, data } = object as KubeObject & { readonly data?: Readonly<Record<string, string>> };
  const refuse = (reason: string): Reading<never> =>
    leftOut(`ConfigMap ${metadata.namespace ?? ""}/${metadata.name}`, `key mesh ${reason}`);
  const value = parseYaml(data?.["mesh"] ?? "");
  if (value === null) return read(DEFAULT_MESH_CONFIG);
  if (typeof value !== "object" || Array.isArray(value)) return refuse("is no YAML mapping");
  const { trustDomain: given, rootNamespace, defaultConfig } = value as YamlMeshConfig;
  const trustDomain = given ?? "";
  if (typeof trustDomain !== "string") return refuse("has a trustDomain that is no text");
  if (trustDomain !== "" && !TRUST_DOMAIN.test(trustDomain)) return refuse("has a trustDomain that SPIFFE forbids");
  return read({
    trustDomain: trustDomain || DEFAULT_MESH_CONFIG.trustDomain,
    rootNamespace: typeof rootNamespace === "string" && rootNamespace !== "" ? rootNamespace : undefined,
    smartDnsProxying: String(defaultConfig?.proxyMetadata?.ISTIO_META_DNS_CAPTURE) === "true",
  });
}

/** undefined for what is no YAML. */
function parseYaml(text: string): unknown {
  try {
    return parse(text, { logLevel: "error", merge: true, maxAliasCount: 100 }) as unknown;
  } catch {
    return undefined;
  }
}
