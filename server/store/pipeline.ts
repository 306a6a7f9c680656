import type { Clock, Random } from "../../common/runtime/clock.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { Tasks } from "../../common/runtime/tasks.ts";
import type { MeshesStatus } from "../admin/services.ts";
import type { ClusterRecord } from "../identity/records.ts";
import type { SessionStore } from "../identity/session-store.ts";
import type { Agents } from "../relay/agents.ts";
import type { IntentBook } from "../relay/intent-book.ts";
import type { StatusBook } from "../relay/status-book.ts";
import type { KnownMesh } from "../../proto/gen/admin/v1/admin.ts";
import type { AgentAnswers } from "../relay/views.ts";
import type { LeaderTask } from "./leadership.ts";

/** What a pipeline works on: the rooms between which it stands. */
export interface PipelineDeps {
  /** What each cluster shall hold; the pipeline writes it, sessions read it. */
  readonly intents: IntentBook;
  /** What the agents with a session here reported. */
  readonly reports: StatusBook;
  /** Sessions of all replicas. */
  readonly sessions: SessionStore;
  /** Facts of the sessions of this replica. */
  readonly agents: Pick<Agents, "acknowledged" | "rejection" | "live">;
  /** undefined for a cluster that is not registered. */
  readonly cluster: (name: string) => ClusterRecord | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** The way from what people wrote to what agents get, and from what agents report to the status that people read. */
export interface Pipeline {
  readonly statuses: Latest<MeshesStatus>;
  /** Reasons why agents cannot be served yet; empty when they can. */
  readonly notReady: () => readonly string[];
  /** To be called when a session of this replica began or ended, or acknowledged something. */
  readonly sessionChanged: (cluster: string) => void;
  /** To be called when the record of a cluster, or its session at any replica, changed. */
  readonly clusterChanged: (cluster: string) => void;
  /** What the agent of a cluster said whose session another replica holds. Absent where there is no other replica. */
  readonly answers?: (cluster: string) => AgentAnswers;
  /** The Meshes of a cluster, in order of namespace and name, and what is in force for each. */
  readonly meshes: (cluster: string) => Iterable<KnownMesh>;
  readonly tasks: Tasks;
  /** What only the leader does. */
  readonly leaderTasks: Readonly<Record<string, LeaderTask>>;
}
