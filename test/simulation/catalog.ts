import { keyOf, wireResource, type WireResource } from "../../common/session/resource-set.ts";
import { IssuedCertificate } from "../../proto/gen/certificates/v1/certificates.ts";

/**
 * What becomes of a version at the agent: stored; refused by its own checks; refused by its cluster for good; refused by
 * its cluster until everything is well.
 */
export type Kind = "good" | "invalid" | "never" | "later";

export const NAMES = ["alpha", "beta", "gamma"] as const;

/** Nobody ever takes this one out, so it must never be gone. */
export const KEPT = "kept";

export const nameOf = (name: string) => ({ namespace: "gloo-mesh", name });

const made = new Map<string, WireResource>();
const kinds = new Map<string, Kind>();

/** A version of a certificate of a cluster: the real thing, so that the agent's own checks judge it. */
export function certificateOf(cluster: string, name: string, { kind, number }: { kind: Kind; number: number }) {
  const id = `${cluster} ${name} ${kind} ${number}`;
  let resource = made.get(id);
  if (!resource) {
    const certificate = IssuedCertificate.fromPartial({
      ...{ name: nameOf(name), mesh: nameOf(`${cluster}-${kind}-${number}`) },
      ...{ hosts: kind === "invalid" ? [] : [id], installation: { namespace: "istio-system" } },
      certificateAuthority: { $case: "vault", value: { server: "https://vault" } },
    });
    resource = wireResource(nameOf(name), Buffer.from(IssuedCertificate.encode(certificate).finish()));
    made.set(id, resource);
    kinds.set(resource.version, kind);
  }
  return resource;
}

/** Kind of a version that was made. */
export const kindOf = (version: string): Kind => kinds.get(version) ?? "good";

export const KEPT_KEY = keyOf(nameOf(KEPT));
