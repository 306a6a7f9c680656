import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { ClusterSession } from "../../proto/gen/admin/v1/admin.ts";
import { AGENT } from "./agent-chart.ts";
import type { Cluster } from "./cluster.ts";
import { podsOf, troubleOf } from "./pods.ts";

/** How to wait. */
export interface Waiting {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** The cluster's session as the server tells it; undefined for a cluster that it does not know. */
  readonly session: () => Promise<ClusterSession | undefined>;
  /** Told each stage once. */
  readonly onStage: (stage: string) => void;
}

const POLL_MS = 1000;

/** What a session shows of an agent that is on its way. */
export function stageOf(session: Pick<ClusterSession, "identity" | "connected"> | undefined): string {
  if (session?.connected) return "connected";
  return session?.identity === "ENROLLED" ? "enrolled, not connected yet" : "waiting for the agent to enrol";
}

/** Waits until the agent is connected. Throws `deadline_exceeded`, with what is known of the reason. */
export async function awaitAgent(remote: Cluster, waiting: Waiting, signal: AbortSignal): Promise<ClusterSession> {
  const { clock, timeoutMs, session, onStage } = waiting;
  const deadline = clock.now() + timeoutMs;
  for (let told = ""; ;) {
    const now = await session();
    const stage = stageOf(now);
    if (stage !== told) onStage(stage);
    told = stage;
    if (now?.connected) return now;
    if (clock.now() >= deadline) {
      throw new MeshError(
        "deadline_exceeded",
        `no agent has connected within ${Math.round(timeoutMs / 1000)} s: ${stage}`,
        {
          hint: await agentTrouble(remote, signal),
        },
      );
    }
    await clock.sleep(POLL_MS, signal);
  }
}

async function agentTrouble(remote: Cluster, signal: AbortSignal): Promise<string> {
  const pods = await podsOf(remote, AGENT, signal);
  const where = `in namespace ${remote.namespace} of ${remote.title}`;
  if (!pods) return `there is no deployment ${AGENT} ${where}: install its chart`;
  const [first] = pods;
  if (!first) return `there is no pod of ${AGENT} ${where}: see kubectl describe deployment`;
  const pod = `pod ${first.metadata.name}: ${troubleOf(first)}`;
  return `${pod}; see kubectl logs deployment/${AGENT} ${where}, and whether the relay's address can be reached from there`;
}
