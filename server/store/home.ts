import type { Clock, Random } from "../../common/runtime/clock.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { Task } from "../../common/runtime/tasks.ts";
import type { MeshesStatus } from "../admin/services.ts";
import type { ServerConfig } from "../config.ts";
import type { SourcedIntent } from "../intent/snapshot.ts";
import { SourceDirectory } from "./source-directory.ts";

/** Where people keep what they want: a directory, or an API server. */
export interface Home {
  /** Set once all of it was read, then on each change. */
  readonly intents: Latest<SourcedIntent>;
  /** What keeps it up to date, and writes the statuses back where it has a place for them. */
  readonly tasks: (statuses: Latest<MeshesStatus>) => Readonly<Record<string, Task>>;
}

export interface HomeContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

type HomeConfig = Pick<ServerConfig, "sourceDir" | "sourcePollMs" | "sourceKubeconfig" | "sourceNamespace">;

/** Opens the home that the configuration names; see `checkServerConfig`. Throws for one that cannot be read. */
export async function openHome(config: HomeConfig, context: HomeContext): Promise<Home> {
  const { sourceDir, sourcePollMs, sourceKubeconfig, sourceNamespace: namespace } = config;
  if (sourceDir === undefined) {
    // Loaded only where it is used: the Kubernetes client costs tens of MiB.
    const { kubernetesHome } = await import("./kubernetes-home.ts");
    return kubernetesHome({ kubeconfigFile: sourceKubeconfig, namespace }, context);
  }
  const { clock, log } = context;
  const directory = new SourceDirectory({ path: sourceDir, clock, log, pollMs: sourcePollMs });
  await directory.check();
  return { intents: directory.intents, tasks: () => ({ source: (stop) => directory.run(stop) }) };
}
