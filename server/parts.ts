import type { Clock, Random } from "../common/runtime/clock.ts";
import type { Log } from "../common/runtime/log.ts";
import { bundleDigest } from "../common/session/tls.ts";
import type { AdminSources } from "./admin/services.ts";
import type { ServerIdentity } from "./identity/identity.ts";
import { Hub, notServed } from "./relay/hub.ts";
import type { RelayObserver } from "./relay/observer.ts";
import { viewIntent, viewRecord } from "./relay/views.ts";
import { IntentBook } from "./relay/intent-book.ts";
import { StatusBook } from "./relay/status-book.ts";
import type { Home } from "./store/home.ts";
import type { Pipeline } from "./store/pipeline.ts";

/** The rooms of the server, wired to each other and not yet running. */
export interface ServerParts {
  readonly identity: ServerIdentity;
  readonly hub: Hub;
  readonly pipeline: Pipeline;
  readonly admin: AdminSources;
  /** Reasons why agents are not served yet; empty when they are. */
  readonly notReady: () => readonly string[];
}

export interface PartsOptions {
  readonly home: Home;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Counts what the relay does. */
  readonly observer: RelayObserver;
}

/** Opens the rooms bottom-up. Throws what the home throws for what it cannot read back. */
export async function openParts({ home, clock, random, log, observer }: PartsOptions): Promise<ServerParts> {
  const { identity, sessions } = home;
  const { registry } = identity;
  const intents = new IntentBook();
  const reports = new StatusBook();
  const notReady = (): string[] => [...home.notReady(), ...pipeline.notReady()];
  const hub = new Hub({
    clock,
    log,
    observer,
    intents,
    statuses: reports,
    notReady,
    isServed: (cluster) => registry.isServed(cluster),
    sessions,
    roots: () => bundleDigest(identity.pki.ca.trustBundlePem),
    onSessionChange: (cluster) => pipeline.sessionChanged(cluster),
  });
  const { agents } = hub;
  const cluster = (name: string) => registry.get(name);
  const pipeline = await home.openPipeline({ intents, reports, sessions, agents, cluster, clock, random, log });
  registry.onRevoked((name) => {
    pipeline.clusterChanged(name);
    // One at another replica ends as soon as that hears of it.
    const wasConnected = sessions.isConnected(name);
    return hub.close(name, notServed(name)) || wasConnected;
  });
  sessions.onChange((name) => pipeline.clusterChanged(name));
  const admin: AdminSources = {
    watchStatus: (until) => pipeline.statuses.watch(until),
    session: (name) => agents.view(name) ?? viewRecord(sessions.get(name), intents.get(name), pipeline.answers?.(name)),
    getIntent: (name) => {
      const meshes = [...pipeline.meshes(name)];
      if (!intents.clusters.includes(name) && meshes.length === 0) return undefined;
      const isElsewhere = pipeline.answers && !agents.isConnected(name);
      const view = isElsewhere ? viewIntent(intents.get(name), pipeline.answers(name)) : agents.intent(name);
      return { ...view, meshes };
    },
  };
  return { identity, hub, pipeline, admin, notReady };
}
