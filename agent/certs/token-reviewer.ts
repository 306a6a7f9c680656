import * as z from "zod";
import type { ReviewedUser } from "../../common/kube/token-review.ts";
import { MeshError } from "../../common/runtime/errors.ts";

/** Who a pod-bound service account token speaks for. */
export interface PodIdentity {
  readonly podName: string;
  readonly podUid: string;
  readonly podNamespace: string;
  readonly serviceAccount: string;
  /** When the token ends, in milliseconds since the epoch. */
  readonly expiresAtMs: number;
  /** The Deployment that it is of, where that was found out. */
  readonly deployment?: string;
  /** What the API server calls the caller, where it was asked: a question for rights repeats it. */
  readonly user?: ReviewedUser;
}

/**
 * Tells whom a token speaks for. Throws `unauthenticated` with the reason when it is not a valid, pod-bound token for
 * our audience, and `unavailable` when that cannot be found out now. No message holds any part of the token.
 */
export interface TokenReviewer {
  review(token: string): Promise<PodIdentity>;
}

/** The claims that Kubernetes puts into a pod-bound token. */
const podBoundClaims = z.object({
  sub: z.string(),
  exp: z.number(),
  "kubernetes.io": z.object({
    namespace: z.string().min(1),
    serviceaccount: z.object({ name: z.string().min(1) }),
    pod: z.object({ name: z.string().min(1), uid: z.string().min(1) }),
  }),
});

/**
 * Reads the identity from the claims of a token whose signature was verified. Throws `unauthenticated` for a token that
 * is not bound to a pod, or whose subject is another account than its claims name.
 */
export function readPodIdentity(claims: unknown): PodIdentity {
  const parsed = podBoundClaims.safeParse(claims);
  if (!parsed.success) {
    const path = parsed.error.issues[0]?.path.join(".") ?? "";
    throw refused(`claim ${path} is missing or malformed`, "request the token bound to the pod");
  }
  const { sub, exp, "kubernetes.io": kubernetes } = parsed.data;
  const { namespace, serviceaccount, pod } = kubernetes;
  if (sub !== `system:serviceaccount:${namespace}:${serviceaccount.name}`) {
    throw refused("its subject is another service account than its claims name");
  }
  return {
    podName: pod.name,
    podUid: pod.uid,
    podNamespace: namespace,
    serviceAccount: serviceaccount.name,
    expiresAtMs: exp * 1000,
  };
}

/** The error for a token that is not accepted. `reason` holds nothing of the token. */
export function refused(reason: string, hint?: string): MeshError {
  return new MeshError("unauthenticated", `token refused: ${reason}`, hint ? { hint } : {});
}
