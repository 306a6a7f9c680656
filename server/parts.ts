import type { Clock, Random } from "../common/runtime/clock.ts";
import type { Log } from "../common/runtime/log.ts";
import { bundleDigest } from "../common/session/tls.ts";
import type { AdminSources } from "./admin/services.ts";
import type { ServerIdentity } from "./identity/identity.ts";
import { Hub, notServed } from "./relay/hub.ts";
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
}

/** Opens the rooms bottom-up. Throws what the home throws for what it cannot read back. */
export async function openParts({ home, clock, random, log }: PartsOptions): Promise<ServerParts> {
  const { identity, sessions } = home;
  const { registry } = identity;
  const intents = new IntentBook();
  const reports = new StatusBook();
  const notReady = (): string[] => [...home.notReady(), ...pipeline.notReady()];
  const hub = new Hub({
    clock,
    log,
    intents,
    statuses: reports,
    notReady,
    isServed: (cluster) => registry.isServed(cluster),
    sessions,
    clones: registry.clones,
    roots: () => bundleDigest(identity.pki.ca.trustBundlePem),
    onSessionChange: (cluster) => pipeline.sessionChanged(cluster),
  });
  const cluster = (name: string) => registry.get(name);
  const pipeline = await home.openPipeline({ intents, reports, sessions, hub, cluster, clock, random, log });
  registry.onRevoked((name) => {
    pipeline.clusterChanged(name);
    // One at another replica ends as soon as that hears of it.
    const wasConnected = sessions.isConnected(name);
    return hub.close(name, notServed(name)) || wasConnected;
  });
  sessions.onChange((name) => pipeline.clusterChanged(name));
  const admin: AdminSources = {
    watchStatus: (until) => pipeline.statuses.watch(until),
    listSessions: () =>
      registry.list().flatMap(({ name }) => hub.session(name) ?? viewRecord(sessions.get(name)) ?? []),
    getIntent: (name) => {
      if (!intents.clusters.includes(name)) return undefined;
      const isElsewhere = pipeline.answers && !hub.isConnected(name);
      return isElsewhere ? viewIntent(intents.get(name), pipeline.answers(name)) : hub.intent(name);
    },
  };
  return { identity, hub, pipeline, admin, notReady };
}
