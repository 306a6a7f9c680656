import type {
  PodBounceDirectiveSpec,
  PodBounceDirectiveStatus,
  PodBounceState,
  PodSelector,
} from "../../common/api/pod-bounce.ts";
import type { WholeObject } from "../../common/kube/reflection.ts";
import { PodBounceState as WireState, type PodBounceStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Cause, Directive, RestartRequest } from "./decide.ts";
import { changedMs, ROOT_CONFIG_MAP, ROOT_KEY } from "./namespace-root.ts";
import type { Group, PlannedGroup } from "./plan.ts";

/** Annotation by which somebody asks for a restart: RFC 3339. */
export const RESTART_ANNOTATION = "relay.mesh.gloo.solo.io/restart-requested-at";

/** More of them would make the object too large for the API server; the others are restarted all the same. */
const MAX_SELECTORS = 500;
const MAX_NAMES_EACH = 20;
const MAX_UNMANAGED = 100;

/** Reads a directive as the API server has it. */
export function readDirective(object: WholeObject): Directive {
  const { metadata, spec, status } = object as WholeObject & {
    readonly spec?: PodBounceDirectiveSpec;
    readonly status?: PodBounceDirectiveStatus;
  };
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    generation: metadata.generation ?? 0,
    spec: spec ?? {},
    status,
    request: requestOf(object),
  };
}

/**
 * The asker's clock may be ahead; the API server knows when the annotation was written. A moment in the future would make
 * every replacement old again.
 */
function requestOf({ metadata }: WholeObject): RestartRequest | undefined {
  const askedMs = Date.parse(metadata.annotations?.[RESTART_ANNOTATION] ?? "");
  if (Number.isNaN(askedMs)) return undefined;
  const path = ["f:metadata", "f:annotations", `f:${RESTART_ANNOTATION}`];
  const writtenMs = changedMs(metadata.managedFields ?? [], path) ?? askedMs;
  return { askedMs, cutoffMs: Math.floor(Math.min(askedMs, writtenMs) / 1000) * 1000 };
}

/** The spec for a restart of these groups. */
export function directiveSpec(
  certificate: { readonly namespace: string; readonly name: string },
  { rootSha256, askedMs }: Cause,
  groups: readonly PlannedGroup[],
): PodBounceDirectiveSpec {
  return {
    podsToBounce: groups.slice(0, MAX_SELECTORS).map(selectorOf),
    issuedCertificate: { namespace: certificate.namespace, name: certificate.name },
    ...(rootSha256 === undefined ? {} : { rootSha256 }),
    ...(askedMs === undefined ? {} : { restartRequestedAt: new Date(askedMs).toISOString() }),
  };
}

function selectorOf({ namespace, labels }: PlannedGroup): PodSelector {
  return {
    namespace,
    labels,
    rootCertSync: { configMapRef: { namespace, name: ROOT_CONFIG_MAP }, configMapKey: ROOT_KEY },
  };
}

/** A restart's state, for the directive and for the wire. */
export interface BounceReport {
  readonly state: PodBounceState;
  readonly message: string;
  readonly restarted: number;
  readonly remaining: number;
  readonly unmanaged: readonly string[];
}

export function wireStatus({ state, message, restarted, remaining, unmanaged }: BounceReport): PodBounceStatus {
  const all = unmanaged.slice(0, MAX_UNMANAGED);
  return { state: WIRE_STATES[state], message, restarted, remaining, unmanaged: all };
}

const WIRE_STATES: Readonly<Record<PodBounceState, WireState>> = {
  PENDING: WireState.POD_BOUNCE_STATE_PENDING,
  BOUNCING_PODS: WireState.POD_BOUNCE_STATE_BOUNCING,
  FINISHED: WireState.POD_BOUNCE_STATE_FINISHED,
  FAILED: WireState.POD_BOUNCE_STATE_FAILED,
};

/** What a stored status says, for a restart that this program has not taken up. */
export function reportOf(status: PodBounceDirectiveStatus | undefined): BounceReport {
  const { state = "PENDING", message = "", restarted = 0, remaining = 0, unmanaged = [] } = status ?? {};
  return { state, message, restarted, remaining, unmanaged };
}

/** The status to store: the report, the names of restarted pods, and the condition for `kubectl wait`. */
export function directiveStatus(
  { generation, spec, status: before }: Directive,
  { unmanaged, ...report }: BounceReport,
  bounced: BouncedPods,
  nowMs: number,
): PodBounceDirectiveStatus {
  const isFinished = report.state === "FINISHED" ? "True" : "False";
  const known = before?.conditions?.find(({ type }) => type === "Finished");
  const now = new Date(nowMs).toISOString();
  return {
    ...report,
    observedGeneration: generation,
    podsBounced: bounced.of(spec.podsToBounce ?? []),
    unmanaged: unmanaged.slice(0, MAX_UNMANAGED),
    ...(report.state === "FAILED" ? { error: report.message } : {}),
    conditions: [
      {
        type: "Finished",
        status: isFinished,
        observedGeneration: generation,
        lastTransitionTime: known?.status === isFinished ? known.lastTransitionTime : now,
        reason: CONDITION_REASONS[report.state],
        message: report.message,
      },
    ],
  };
}

const CONDITION_REASONS: Readonly<Record<PodBounceState, string>> = {
  PENDING: "Pending",
  BOUNCING_PODS: "Restarting",
  FINISHED: "Restarted",
  FAILED: "Stalled",
};

/** Names of the pods restarted for one generation of a directive, by selector. */
export class BouncedPods {
  readonly #names = new Map<string, string[]>();

  /** Goes on from what a status has, whose entries stand in the order of the selectors. */
  static of({ spec, status }: Pick<Directive, "spec" | "status">): BouncedPods {
    const bounced = new BouncedPods();
    for (const [index, selector] of (spec.podsToBounce ?? []).entries()) {
      bounced.#names.set(keyOf(selector), [...(status?.podsBounced?.[index]?.bouncedPods ?? [])]);
    }
    return bounced;
  }

  add(group: Group, name: string): void {
    const names = this.#names.get(keyOf(group));
    if (names && names.length < MAX_NAMES_EACH) names.push(name);
  }

  of(selectors: readonly PodSelector[]): { bouncedPods: string[] }[] {
    return selectors.map((selector) => ({ bouncedPods: [...(this.#names.get(keyOf(selector)) ?? [])] }));
  }
}

function keyOf({ namespace = "", labels = {} }: Pick<PodSelector, "namespace" | "labels">): string {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([namespace, sorted]);
}
