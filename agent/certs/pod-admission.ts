import type { AccessQuestion, ReviewAccess } from "../../common/kube/access-review.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { type Admission, admitAccounts, type AllowedAccounts } from "./admission.ts";
import type { PodIdentity } from "./token-reviewer.ts";

/** Says which istiod a pod is of; throws as `Admission.admit` does for a pod of anything else. */
export type FindIstiod = (pod: PodIdentity, signal: AbortSignal) => Promise<{ readonly name: string }>;

export interface PodAdmissionOptions {
  readonly accounts: AllowedAccounts;
  /** Namespace of the IssuedCertificates. */
  readonly namespace: string;
  readonly findIstiod: FindIstiod;
  readonly reviewAccess: ReviewAccess;
}

const TIMEOUT_MS = 20_000;

/**
 * In a cluster: lets pods in that run as one of the accounts, belong to a discovered istiod's Deployment, and whose
 * account was given the verb `link` on IssuedCertificates, which lets nobody write.
 */
export function admitPods({ accounts, namespace, findIstiod, reviewAccess }: PodAdmissionOptions): Admission {
  const byAccount = admitAccounts(accounts);
  const question: AccessQuestion = {
    verb: "link",
    group: "certificates.mesh.gloo.solo.io",
    resource: "issuedcertificates",
    namespace,
  };
  return {
    admit: async (pod) => {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      await byAccount.admit(pod);
      const { name: deployment } = await findIstiod(pod, signal);
      const { user, podNamespace, serviceAccount } = pod;
      if (user && (await reviewAccess(user, question, signal))) return { ...pod, deployment };
      const account = `${podNamespace}/${serviceAccount}`;
      throw new MeshError(
        "permission_denied",
        `service account ${account} may not link issuedcertificates in ${namespace}`,
        {
          hint: "set istiodSidecar.createRoleBinding: true in the values of the enterprise-agent chart",
        },
      );
    },
  };
}
