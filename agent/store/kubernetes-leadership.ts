import { randomBytes } from "node:crypto";
import { LeaseCandidate } from "../../common/kube/lease.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { FIELD_MANAGER, type KubernetesContext } from "./kubernetes-context.ts";
import type { Leadership } from "./leadership.ts";

/** The replica that holds the Lease `enterprise-agent` leads. */
export function leaseLeadership({ owner, replica, ...context }: KubernetesContext): Leadership {
  const leading = new Latest(false);
  // New with each start: a replica that was killed must not take its own former lease for this one.
  const identity = `${replica}_${randomBytes(4).toString("hex")}`;
  const candidate = new LeaseCandidate({ ...context, namespace: owner.namespace, name: FIELD_MANAGER, identity });
  return {
    leading,
    run: (lead, signal) =>
      candidate.run(async (stop) => {
        leading.set(true);
        try {
          await lead(stop);
        } finally {
          leading.set(false);
        }
      }, signal),
  };
}
