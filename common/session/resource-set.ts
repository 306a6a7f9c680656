import { createHash } from "node:crypto";
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

export const versionOf = (content: Uint8Array): string => createHash("sha256").update(content).digest("hex");

export function wireResource(name: ResourceName, content: Buffer): WireResource {
  return { name, content, version: versionOf(content) };
}

/** What a side holds of one type: version (hex) by key. */
export type Versions = ReadonlyMap<string, string>;

/** Digest of a set, as relay.proto defines it for Push.digest. The empty set has a digest too. */
export function digestOf(versions: Versions): Buffer {
  const hash = createHash("sha256");
  const keys = [...versions.keys()];
  if (keys.length > 1) keys.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  for (const key of keys) {
    hash.update(`${key}\0`);
    hash.update(Buffer.from(versions.get(key) ?? "", "hex"));
  }
  return hash.digest();
}
