import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import { knownMeshes } from "../intent/known-meshes.ts";
import { Reconciler } from "../intent/reconciler.ts";
import { StatusRoom } from "../status/status-room.ts";
import type { Pipeline, PipelineDeps } from "./pipeline.ts";
import type { SourceDirectory } from "./source-directory.ts";

export interface StandalonePipelineDeps extends PipelineDeps {
  readonly directory: Pick<StateDirectory, "document">;
}

/** From a directory of YAML files to the status, with what was good last in the state directory. Throws `state_corrupt`. */
export async function openStandalonePipeline(
  source: Pick<SourceDirectory, "intents" | "run">,
  deps: StandalonePipelineDeps,
): Promise<Pipeline> {
  const { directory, intents, reports, agents, sessions, clock, log } = deps;
  const status = await StatusRoom.open({
    directory,
    intents,
    reports,
    isRevoked: (cluster) => deps.cluster(cluster)?.state === "REVOKED",
    clock,
    log,
  });
  const reconciler = await Reconciler.open({ directory, intents, log });
  const facts = {
    isConnected: (cluster: string) => sessions.isConnected(cluster),
    acknowledged: (cluster: string, key: string) => agents.acknowledged(cluster, key),
    rejection: (cluster: string, key: string) => agents.rejection(cluster, key),
  };
  const ignored = new Set<string>();
  reports.onDiscovery((cluster) => {
    if (ignored.has(cluster)) return;
    ignored.add(cluster);
    log.info("discovered meshes are ignored: here they are files", { cluster });
  });
  return {
    statuses: status.statuses,
    notReady: () => (reconciler.reconciled.value ? [] : ["the sources have not been read yet"]),
    sessionChanged: (cluster) => {
      status.touch();
      reconciler.forgetAcknowledged(cluster).catch((error: unknown) => {
        log.error("cannot note what the agent has acknowledged", { cluster, err: error });
      });
    },
    clusterChanged: () => status.touch(),
    meshes: (cluster) => {
      const inForce = reconciler.reconciled.value?.inForce.values() ?? [];
      return knownMeshes(cluster, source.intents.value?.snapshot.meshes ?? [], inForce);
    },
    tasks: {
      source: (stop) => source.run(stop),
      reconcile: (stop) => reconciler.run(source.intents, stop),
      status: (stop) => status.run(reconciler.reconciled, facts, stop),
    },
    leaderTasks: {},
  };
}
