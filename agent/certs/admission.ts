import { MeshError } from "../../common/runtime/errors.ts";
import type { PodIdentity } from "./token-reviewer.ts";

/** Who may run istiod: names of service accounts as "namespace/name". */
export type AllowedAccounts = readonly string[];

/**
 * Says whether a pod, whose token was reviewed, is istiod's; returns it with what was found out of it. Throws
 * `permission_denied` with the reason if not, and `unavailable` when that cannot be found out now.
 */
export interface Admission {
  admit(pod: PodIdentity): Promise<PodIdentity>;
}

/** Lets pods in that run as one of these accounts. */
export function admitAccounts(accounts: AllowedAccounts): Admission {
  return {
    admit: async (pod) => {
      const account = `${pod.podNamespace}/${pod.serviceAccount}`;
      if (accounts.includes(account)) return pod;
      throw new MeshError("permission_denied", `service account ${account} is not one that istiod runs as`, {
        hint: `allowed are ${accounts.join(", ")}; add it to the agent's istiod accounts if istiod runs as it`,
      });
    },
  };
}
