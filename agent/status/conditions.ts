import type { Condition } from "../../common/api/meta.ts";
import { CertificateState, type ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { HeldAs } from "../store/certificate-object.ts";

/** What conditions are made of. */
export interface ConditionFacts {
  readonly state: CertificateState;
  /** The pods that speak for the certificate. */
  readonly speaking: readonly ReplicaStatus[];
  readonly heldAs: HeldAs;
  readonly observedGeneration: number;
  readonly before: readonly Condition[];
  readonly nowMs: number;
}

type Verdict = Omit<Condition, "observedGeneration" | "lastTransitionTime">;

/** `Ready`, and `Detached` while that is true. The time of a condition is that of its last change of status. */
export function conditionsOf(facts: ConditionFacts): Condition[] {
  const { before, observedGeneration, nowMs } = facts;
  return [readiness(facts), ...detachment(facts.heldAs)].map((verdict) => {
    const known = before.find(({ type }) => type === verdict.type);
    const isSame = known?.status === verdict.status;
    return {
      ...verdict,
      observedGeneration,
      lastTransitionTime: isSame ? known.lastTransitionTime : new Date(nowMs).toISOString(),
    };
  });
}

function readiness({ state, speaking }: ConditionFacts): Verdict {
  const ready = speaking.filter((replica) => replica.state === CertificateState.CERTIFICATE_STATE_FINISHED).length;
  const count = `${ready} of ${speaking.length} istiod pods ${speaking.length === 1 ? "was" : "were"}`;
  const message = speaking.length === 0 ? "no istiod pod is linked" : `${count} seen to sign with its intermediate`;
  const isReady = speaking.length > 0 && state === CertificateState.CERTIFICATE_STATE_FINISHED;
  return { type: "Ready", status: isReady ? "True" : "False", reason: reasonOf(state, speaking.length), message };
}

function reasonOf(state: CertificateState, pods: number): string {
  if (pods === 0) return "NoPods";
  return REASONS[state] ?? "Pending";
}

const REASONS: Readonly<Partial<Record<CertificateState, string>>> = {
  [CertificateState.CERTIFICATE_STATE_REQUESTED]: "Requested",
  [CertificateState.CERTIFICATE_STATE_ISSUED]: "NotProved",
  [CertificateState.CERTIFICATE_STATE_FINISHED]: "Proved",
  [CertificateState.CERTIFICATE_STATE_FAILED]: "Failed",
};

function detachment(heldAs: HeldAs): Verdict[] {
  if (heldAs === "managed") return [];
  const released = heldAs === "released";
  const message = released
    ? "taken out of its VirtualMesh; it stays in force until no istiod pod uses it"
    : "no VirtualMesh asks for it any more, and nobody took it out; it stays in force until somebody deletes it";
  return [{ type: "Detached", status: "True", reason: released ? "Removed" : "IntentMissing", message }];
}
