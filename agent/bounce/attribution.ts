import { type Istiod, normalRevision } from "../discover/istiod-deployment.ts";
import type { ProxyFacts } from "./pod.ts";

/** The istiod that signs for a proxy; undefined where that cannot be told. */
export function istiodOfProxy({ authority, revision }: ProxyFacts, istiods: readonly Istiod[]): Istiod | undefined {
  if (istiods.length <= 1) return istiods[0];
  // Istio's charts give istiod's Service the name of its Deployment.
  const [service, namespace] = authority?.split(".") ?? [];
  const named = istiods.find((istiod) => istiod.name === service && istiod.namespace === namespace);
  if (named) return named;
  const ofRevision = istiods.filter((istiod) => istiod.revision === normalRevision(revision ?? ""));
  return ofRevision.length === 1 ? ofRevision[0] : undefined;
}
