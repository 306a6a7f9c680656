import type { PodBounceDirective, PodBounceDirectiveStatus } from "../../common/api/pod-bounce.ts";
import { createObject, mergeObject } from "../../common/kube/objects.ts";
import { type Clock, systemClock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Cluster, KINDS } from "./cluster.ts";
import type { ClusterConfig } from "./options.ts";

/** The agent restarts what is older than this time. */
export const RESTART_ANNOTATION = "relay.mesh.gloo.solo.io/restart-requested-at";

interface RestartConfig extends ClusterConfig {
  readonly meshName: string;
  readonly wait: boolean;
  readonly timeout: number;
}

/** What was asked for, and what became of it where somebody waited. */
export interface RestartOutcome {
  readonly mesh: string;
  readonly requestedAt: string;
  /** A command that shows how it goes on. */
  readonly look: string;
  readonly restarted?: number;
  readonly unmanaged?: readonly string[];
}

/** Asks the agent of a cluster to restart the pods of a mesh, and with `wait` follows it to its end. */
export async function restartMesh(
  config: RestartConfig,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<RestartOutcome> {
  using cluster = new Cluster(config);
  const { meshName, namespace } = config;
  await checkMesh(cluster, meshName, signal);
  const requestedAt = new Date(systemClock.now()).toISOString();
  await annotate(cluster, meshName, requestedAt, signal);
  const context = config.kubecontext === undefined ? "" : ` --context ${config.kubecontext}`;
  const look = `kubectl${context} get podbouncedirective ${meshName} -n ${namespace} -w`;
  const outcome = { mesh: meshName, requestedAt, look };
  if (!config.wait) return outcome;
  const read = async () => {
    const place = { namespace, name: meshName };
    return cluster.find<PodBounceDirective>(KINDS.podBounceDirective, place, signal);
  };
  const following = { requestedAt, timeoutMs: config.timeout, clock: systemClock, read, tell };
  const { restarted = 0, unmanaged = [] } = await follow(following, signal);
  return { ...outcome, restarted, unmanaged };
}

async function checkMesh(cluster: Cluster, mesh: string, signal: AbortSignal): Promise<void> {
  const certificates = await cluster.list(KINDS.issuedCertificate, signal);
  const known = certificates.map(({ metadata }) => metadata.name);
  if (known.includes(mesh)) return;
  throw new MeshError(
    "not_found",
    `no certificate is kept for a mesh ${mesh} in namespace ${cluster.namespace} of ${cluster.title}`,
    {
      hint:
        known.length > 0 ? `there are ${known.join(", ")}` : "there is none at all: is this the cluster of that mesh?",
    },
  );
}

async function annotate(cluster: Cluster, name: string, requestedAt: string, signal: AbortSignal): Promise<void> {
  const { client, namespace } = cluster;
  const type = KINDS.podBounceDirective;
  const annotations = { [RESTART_ANNOTATION]: requestedAt };
  const place = { namespace, name };
  const fieldManager = "meshctl";
  if (await cluster.find(type, place, signal)) {
    // Only the annotation: the rest of the object is the agent's.
    await mergeObject(client, { type, place, patch: { metadata: { annotations } }, fieldManager }, signal);
  } else {
    const object = { metadata: { ...place, annotations }, spec: {} };
    await createObject(client, { type, object, fieldManager }, signal);
  }
}

/** How to follow a restart. */
export interface Following {
  readonly requestedAt: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly read: () => Promise<PodBounceDirective | undefined>;
  readonly tell: (line: string) => void;
}

const POLL_MS = 500;

/** Waits for the end of the restart, and tells each change. Throws `failed_precondition` when it fails. */
export async function follow(following: Following, signal: AbortSignal): Promise<PodBounceDirectiveStatus> {
  const { requestedAt, timeoutMs, clock, read, tell } = following;
  const deadline = clock.now() + timeoutMs;
  for (let told = ""; ;) {
    const directive = await read();
    const status = directive && statusOf(directive, requestedAt);
    const line = status ? describe(status) : "waiting for the agent to take the request up";
    if (line !== told) tell(line);
    told = line;
    if (status?.state === "FINISHED") return status;
    if (status?.state === "FAILED") throw new MeshError("failed_precondition", status.error ?? "the restart failed");
    if (clock.now() >= deadline) {
      throw new MeshError("deadline_exceeded", `not restarted within ${Math.round(timeoutMs / 1000)} s: ${line}`, {
        hint: "the agent goes on with it; see kubectl logs deployment/enterprise-agent",
      });
    }
    await clock.sleep(POLL_MS, signal);
  }
}

/** The status, once it speaks of this request. */
function statusOf(
  { metadata, spec, status }: PodBounceDirective,
  requestedAt: string,
): PodBounceDirectiveStatus | undefined {
  const isTaken = Date.parse(spec.restartRequestedAt ?? "") >= Date.parse(requestedAt);
  return isTaken && status?.observedGeneration === metadata.generation ? status : undefined;
}

function describe({ state = "PENDING", message = "", restarted = 0, remaining = 0 }: PodBounceDirectiveStatus): string {
  const counts = `${restarted} restarted, ${remaining} to go`;
  return [`${state}: ${counts}`, message].filter(Boolean).join("; ");
}
