import {
  type CertificateError,
  CertificateState,
  type ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import type { Order } from "../../proto/gen/istiod/v1/istiod.ts";
import type { MeshError } from "../../common/runtime/errors.ts";
import { planRenewal, type RenewalPlan } from "../issue/plan.ts";
import type { SigningCa } from "../issue/signing-ca.ts";
import type { OrderState } from "../link/order-state.ts";
import type { ProofOutcome } from "../prove/outcome.ts";
import type { PodContext } from "../pod/context.ts";
import { renewalTerms, requestKey } from "./issue-order.ts";
import type { Situation } from "./decide.ts";

/** Everything that the keeper knows. It changes as a whole. */
export interface KeeperState {
  readonly order: OrderState;
  readonly held: HeldCa | undefined;
  readonly failure: Failure | undefined;
  /** True while Vault is being asked. */
  readonly issuing: boolean;
}

/** The CA in the directory. */
export interface HeldCa {
  readonly ca: SigningCa;
  /** What it was issued for; undefined when that is not known. */
  readonly request: string | undefined;
  readonly orderVersion: Buffer;
  readonly vaultServer: string;
  readonly warnings: readonly string[];
  /** What istiod showed last; undefined before it was asked. */
  readonly proof: ProofOutcome | undefined;
  /** When to ask it next, in milliseconds since the epoch; undefined when there is nothing more to ask. */
  readonly proveAtMs: number | undefined;
}

/** The last attempt, when it failed. */
export interface Failure {
  readonly error: MeshError;
  /** Version of the order that it was made for, lower-case hex; undefined for a fault that came before any. */
  readonly version: string | undefined;
  /** When to try again, in milliseconds since the epoch. */
  readonly retryAtMs: number;
}

export const orderOf = ({ order }: KeeperState): Order | undefined =>
  order.kind === "order" ? order.order : undefined;

/** The order in force as `decide` wants it. */
export function wantedOf(state: KeeperState): Situation["wanted"] {
  const order = orderOf(state);
  return order?.certificate && { version: order.version.toString("hex"), request: requestKey(order.certificate) };
}

/** When the CA in force is renewed and when that is late; undefined while there is none. */
export function planOf(state: KeeperState, pod: PodContext): RenewalPlan | undefined {
  if (!state.held) return undefined;
  const { certificate, cluster = "" } = orderOf(state) ?? {};
  const { notBeforeMs, notAfterMs } = state.held.ca.facts;
  return planRenewal({ notBeforeMs, notAfterMs, ...renewalTerms(certificate ?? { options: undefined }, cluster, pod) });
}

export function situationOf(state: KeeperState, pod: PodContext, nowMs: number): Situation {
  const { held, failure } = state;
  const renewAtMs = planOf(state, pod)?.renewAtMs ?? Infinity;
  return {
    nowMs,
    wanted: wantedOf(state),
    held: held && { request: held.request, renewAtMs, proveAtMs: held.proveAtMs },
    failed: failure?.version === undefined ? undefined : { version: failure.version, retryAtMs: failure.retryAtMs },
  };
}

/** The state as the agent, the server and people see it. */
export function toStatus(state: KeeperState, pod: PodContext, directory: string): ReplicaStatus {
  const { held, failure } = state;
  const plan = planOf(state, pod);
  return {
    podName: pod.podName,
    podNamespace: pod.podNamespace,
    // The agent fills in what its token check tells it.
    podUid: "",
    connected: true,
    state: stageOf(state),
    error: failure && toError(failure.error),
    ...describeCa(held?.ca),
    renewAt: plan && new Date(plan.renewAtMs),
    evidence: evidenceOf(state),
    warnings: [...(held?.warnings ?? [])],
    ...describeOrder(state),
    directory: held ? directory : "",
  };
}

const toError = ({ code, message, hint = "" }: MeshError): CertificateError => ({ code, message, hint });

function describeCa(ca: SigningCa | undefined) {
  if (!ca) return { ...NO_CA, rootSha256: Buffer.alloc(0) };
  const { serial, skiHex, rootSha256, issuer, notBeforeMs, notAfterMs } = ca.facts;
  return {
    serial,
    subjectKeyId: skiHex?.replaceAll(":", "") ?? "",
    rootSha256: Buffer.from(rootSha256, "hex"),
    issuer,
    notBefore: new Date(notBeforeMs),
    notAfter: new Date(notAfterMs),
  };
}

function describeOrder(state: KeeperState) {
  const { held } = state;
  const order = orderOf(state);
  return {
    vaultServer: held?.vaultServer ?? order?.certificate?.certificateAuthority?.value.server ?? "",
    orderVersion: order?.version ?? held?.orderVersion ?? Buffer.alloc(0),
  };
}

const NO_CA = { serial: "", subjectKeyId: "", issuer: "", notBefore: undefined, notAfter: undefined };

function stageOf({ held, failure, issuing }: KeeperState): CertificateState {
  if (failure) return CertificateState.CERTIFICATE_STATE_FAILED;
  if (issuing) return CertificateState.CERTIFICATE_STATE_REQUESTED;
  if (!held) return CertificateState.CERTIFICATE_STATE_PENDING;
  return held.proof?.kind === "proved"
    ? CertificateState.CERTIFICATE_STATE_FINISHED
    : CertificateState.CERTIFICATE_STATE_ISSUED;
}

function evidenceOf({ order, held }: KeeperState): string {
  if (!held) return order.kind === "waiting" ? order.reason : "";
  if (!held.proof) return "istiod was not asked yet";
  return held.proof.kind === "proved" ? held.proof.evidence : held.proof.why;
}
