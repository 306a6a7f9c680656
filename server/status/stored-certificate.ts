import type { MeshCertificateStatus } from "../../common/api/discovery.ts";
import type { PodBounceState as ResourceBounceState } from "../../common/api/pod-bounce.ts";
import { fromReplica, resourceState, toReplica, wireState } from "../../common/api/replica.ts";
import {
  PodBounceState,
  type IssuedCertificateStatus,
  type PodBounceStatus,
  type ResourceName,
} from "../../proto/gen/certificates/v1/certificates.ts";

/** The part of `Mesh.status.issuedCertificate` that the agent's report makes. */
export type ToldCertificate = Omit<
  MeshCertificateStatus,
  "epoch" | "acknowledgedVersion" | "rejected" | "rejectedVersion" | "acknowledgedRemoval"
>;

/** Of the entry in the Mesh, as JSON: an object of an API server has at most 1.5 MiB, with all else that is in it. */
const MAX_CHARACTERS = 256 * 1024;

/** An agent's report as a Mesh has it. Entries of pods that do not fit are left out from the end. */
export function toStored(report: IssuedCertificateStatus): ToldCertificate {
  const { observedVersion, state, detached, error, podBounce } = report;
  const ends = report.replicas.flatMap(({ notAfter }) => notAfter?.getTime() ?? []);
  const replicas = report.replicas.map(toReplica);
  while (JSON.stringify(replicas).length > MAX_CHARACTERS) replicas.length = Math.floor(replicas.length / 2);
  return {
    state: resourceState(state),
    detached,
    ...(observedVersion.length > 0 && { observedVersion: observedVersion.toString("hex") }),
    ...(ends.length > 0 && { notAfter: new Date(Math.min(...ends)).toISOString() }),
    ...(error && { error: { ...error } }),
    ...(replicas.length > 0 && { replicas }),
    ...(podBounce && { podBounce: toStoredBounce(podBounce) }),
  };
}

/** The report that a Mesh has; undefined when it has none. */
export function fromStored(name: ResourceName, stored: MeshCertificateStatus): IssuedCertificateStatus | undefined {
  const { observedVersion = "", state, detached = false, error, replicas = [], podBounce } = stored;
  if (state === undefined) return undefined;
  return {
    name,
    observedVersion: Buffer.from(observedVersion, "hex"),
    state: wireState(state),
    replicas: replicas.map(fromReplica),
    detached,
    error: error && { code: error.code ?? "", message: error.message ?? "", hint: error.hint ?? "" },
    podBounce: podBounce && fromStoredBounce(podBounce),
  };
}

type StoredBounce = NonNullable<MeshCertificateStatus["podBounce"]>;

const BOUNCE_STATES = {
  PENDING: PodBounceState.POD_BOUNCE_STATE_PENDING,
  BOUNCING_PODS: PodBounceState.POD_BOUNCE_STATE_BOUNCING,
  FINISHED: PodBounceState.POD_BOUNCE_STATE_FINISHED,
  FAILED: PodBounceState.POD_BOUNCE_STATE_FAILED,
} as const satisfies Record<ResourceBounceState, PodBounceState>;

function toStoredBounce({ state, message, restarted, remaining, unmanaged }: PodBounceStatus): StoredBounce {
  const found = Object.entries(BOUNCE_STATES).find(([, wire]) => wire === state);
  return {
    state: (found?.[0] ?? "PENDING") as ResourceBounceState,
    message,
    restarted,
    remaining,
    ...(unmanaged.length > 0 && { unmanaged: [...unmanaged] }),
  };
}

function fromStoredBounce(stored: StoredBounce): PodBounceStatus {
  const { state = "PENDING", message = "", restarted = 0, remaining = 0, unmanaged = [] } = stored;
  return { state: BOUNCE_STATES[state], message, restarted, remaining, unmanaged: [...unmanaged] };
}
