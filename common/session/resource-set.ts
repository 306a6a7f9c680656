import { hash } from "node:crypto";
import type { ResourceName } from "../../proto/gen/certificates/v1/certificates.ts";

/** The one resource type that travels today; as in Push.type. */
export const ISSUED_CERTIFICATE = "certificates.mesh.gloo.solo.io/v1/IssuedCertificate";

/** A resource as it travels: whole, encoded once, named by content. */
export interface WireResource {
  readonly name: ResourceName;
  readonly content: Buffer;
  /** SHA-256 of `content`, lower-case hex. */
  readonly version: string;
}

/** Key of a resource inside its type. The separator cannot occur in a Kubernetes name. */
export const keyOf = ({ namespace, name }: ResourceName): string => `${namespace}\0${name}`;

export function nameOf(key: string): ResourceName {
  const [namespace = "", name = ""] = key.split("\0");
  return { namespace, name };
}

export const versionOf = (content: Uint8Array): string => hash("sha256", content);

export function wireResource(name: ResourceName, content: Buffer): WireResource {
  return { name, content, version: versionOf(content) };
}

/** What a side holds of one type: version (hex) by key. */
export type Versions = ReadonlyMap<string, string>;

/** Digest of a set, as relay.proto defines it for Push.digest. The empty set has a digest too. */
export function digestOf(versions: Versions): Buffer {
  const keys = [...versions.keys()];
  if (keys.length > 1) keys.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const parts: Buffer[] = [];
  for (const key of keys) parts.push(Buffer.from(`${key}\0`), Buffer.from(versions.get(key) ?? "", "hex"));
  // In one call and by way of hex: Hash objects, and buffers outside of the pool, cost several times what hashing costs.
  return Buffer.from(hash("sha256", Buffer.concat(parts)), "hex");
}
