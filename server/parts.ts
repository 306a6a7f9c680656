import type { Clock } from "../common/runtime/clock.ts";
import { MeshError } from "../common/runtime/errors.ts";
import type { Log } from "../common/runtime/log.ts";
import type { StateDirectory } from "../common/runtime/state-directory.ts";
import type { AdminSources } from "./admin/services.ts";
import { serverNamesOf, type ServerConfig } from "./config.ts";
import { openServerIdentity, type ServerIdentity } from "./identity/identity.ts";
import { Reconciler } from "./intent/reconciler.ts";
import { Hub } from "./relay/hub.ts";
import { IntentBook } from "./relay/intent-book.ts";
import { StatusBook } from "./relay/status-book.ts";
import { StatusRoom } from "./status/status-room.ts";
import { openHome, type Home } from "./store/home.ts";

/** The rooms of the server, wired to each other and not yet running. */
export interface ServerParts {
  readonly identity: ServerIdentity;
  readonly home: Home;
  readonly reconciler: Reconciler;
  readonly hub: Hub;
  readonly status: StatusRoom;
  readonly admin: AdminSources;
  /** Reasons why agents are not served yet; empty when they are. */
  readonly notReady: () => readonly string[];
}

export interface PartsOptions {
  readonly config: ServerConfig;
  readonly directory: StateDirectory;
  readonly clock: Clock;
  readonly log: Log;
}

/** Opens the rooms bottom-up from the state directory. Throws `state_corrupt`, and `config_invalid` for the source. */
export async function openParts({ config, directory, clock, log }: PartsOptions): Promise<ServerParts> {
  const identity = await openServerIdentity({ directory, names: serverNamesOf(config), clock, log });
  const { registry, epochs } = identity;
  const home = await openHome(config, { clock, random: Math.random, log });
  const intents = new IntentBook();
  const reports = new StatusBook();
  const status = await StatusRoom.open({
    directory,
    intents,
    reports,
    isRevoked: (cluster) => registry.get(cluster)?.state === "REVOKED",
    clock,
    log,
  });
  const reconciler = await Reconciler.open({ directory, intents, log });
  const notReady = (): string[] => (reconciler.reconciled.value ? [] : ["the sources have not been read yet"]);
  const hub = new Hub({
    clock,
    log,
    intents,
    statuses: reports,
    notReady,
    isEnrolled: (cluster) => registry.get(cluster)?.state === "ENROLLED",
    nextEpoch: () => epochs.next(),
    onSessionChange: (cluster) => {
      status.touch();
      reconciler.forgetAcknowledged(cluster).catch((error: unknown) => {
        log.error("cannot note what the agent has acknowledged", { cluster, err: error });
      });
    },
  });
  registry.onRevoked((cluster) => {
    status.touch();
    return hub.close(cluster, revoked(cluster));
  });
  const admin: AdminSources = {
    watchStatus: (until) => status.statuses.watch(until),
    listSessions: () => hub.sessions(),
    getIntent: (cluster) => (intents.clusters.includes(cluster) ? hub.intent(cluster) : undefined),
  };
  return { identity, home, reconciler, hub, status, admin, notReady };
}

const revoked = (cluster: string): MeshError =>
  new MeshError("permission_denied", `cluster ${cluster} was revoked`, {
    hint: `register it again: meshctl cluster register ${cluster} --renew-token`,
  });
