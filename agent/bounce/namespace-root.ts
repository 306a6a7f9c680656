import { MeshError } from "../../common/runtime/errors.ts";
import { certificateFacts, parseCertificates } from "../../common/pki/certificate.ts";
import type { ManagedFields, WholeObject } from "../../common/kube/reflection.ts";

/** ConfigMap that istiod writes into each namespace, and its key. */
export const ROOT_CONFIG_MAP = "istio-ca-root-cert";
export const ROOT_KEY = "root-cert.pem";

/** The roots that new pods of a namespace begin with, and since when. */
export interface NamespaceRoot {
  readonly namespace: string;
  /** SHA-256 of each root's DER form, lower-case hex. */
  readonly roots: readonly string[];
  /** When they took the present value: whole seconds, by the API server's clock. */
  readonly sinceMs: number;
}

/** Reads the ConfigMap; one that holds no certificate has no roots. */
export function readNamespaceRoot(object: WholeObject): NamespaceRoot {
  const { metadata, data } = object as WholeObject & { readonly data?: Readonly<Record<string, string>> };
  const createdMs = Date.parse(metadata.creationTimestamp ?? "");
  const sinceMs = changedMs(metadata.managedFields ?? [], ["f:data", `f:${ROOT_KEY}`]);
  return {
    namespace: metadata.namespace ?? "",
    roots: fingerprints(data?.[ROOT_KEY] ?? ""),
    sinceMs: sinceMs ?? createdMs,
  };
}

/**
 * When a field took its present value. All who own it gave it that value, so the first of them did; a time may be too late,
 * never too early, because an owner's other fields share it. undefined where nobody owns the field.
 */
export function changedMs(managedFields: readonly ManagedFields[], path: readonly string[]): number | undefined {
  const owners = managedFields.filter(({ fieldsV1 }) => hasPath(fieldsV1, path));
  const times = owners.map(({ time }) => Date.parse(time ?? "")).filter((ms) => !Number.isNaN(ms));
  return times.length > 0 ? Math.min(...times) : undefined;
}

function hasPath(fields: unknown, path: readonly string[]): boolean {
  let at = fields;
  for (const step of path) {
    if (typeof at !== "object" || at === null || !(step in at)) return false;
    at = (at as Record<string, unknown>)[step];
  }
  return true;
}

function fingerprints(pem: string): string[] {
  try {
    return parseCertificates(pem).map((certificate) => certificateFacts(certificate).sha256Fingerprint);
  } catch (thrown) {
    if (thrown instanceof MeshError) return [];
    throw thrown;
  }
}
