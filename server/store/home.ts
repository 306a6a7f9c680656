import type { Clock, Random } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { Tasks } from "../../common/runtime/tasks.ts";
import { isKubernetesMode } from "../../common/kube/settings.ts";
import type { ServerConfig } from "../config.ts";
import type { ServerIdentity } from "../identity/identity.ts";
import type { SessionStore } from "../identity/session-store.ts";
import type { Leadership } from "./leadership.ts";
import type { Pipeline, PipelineDeps } from "./pipeline.ts";
import { openStandaloneHome } from "./standalone-home.ts";

/** Where all state of the server lives: directories of this machine, or an API server that its replicas share. */
export interface Home {
  readonly identity: ServerIdentity;
  readonly sessions: SessionStore;
  readonly leadership: Leadership;
  /** The way from intent to status in this home. To be called once. */
  readonly openPipeline: (deps: PipelineDeps) => Promise<Pipeline>;
  /** Reasons why agents cannot be served yet; empty when they can. */
  readonly notReady: () => readonly string[];
  /** What keeps it up to date. */
  readonly tasks: Tasks;
  /** Gives it back; to be called when nothing uses it any more. */
  readonly close: () => Promise<void>;
}

export interface HomeContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Opens the home that the configuration names; see `checkServerConfig`. Throws for one that cannot be read. */
export async function openHome(config: ServerConfig, context: HomeContext): Promise<Home> {
  if (isKubernetesMode(config)) {
    // Loaded only where it is used: the Kubernetes client costs tens of MiB.
    const { openKubernetesHome } = await import("./kubernetes-home.ts");
    return openKubernetesHome(config, context);
  }
  const { sourceDir, stateDir } = config;
  if (sourceDir === undefined || stateDir === undefined) {
    throw new MeshError("config_invalid", "source.dir and state.dir are required");
  }
  return openStandaloneHome({ ...config, sourceDir, stateDir }, context);
}
