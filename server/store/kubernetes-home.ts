import { KubeClient } from "../../common/kube/client.ts";
import { kubeconfigOf, replicaNameOf } from "../../common/kube/settings.ts";
import { serverNamesOf, type ServerConfig } from "../config.ts";
import { openLocalIdentity } from "../store/local-identity.ts";
import type { Home, HomeContext } from "./home.ts";
import { openKubernetesPipeline } from "./kubernetes-pipeline.ts";
import { type Leadership, SoleLeadership } from "./leadership.ts";
import { LocalSessions } from "./local-sessions.ts";
import { memoryDocuments } from "./memory-documents.ts";

/** What everything that works on the API server shares. */
export interface KubernetesContext extends HomeContext {
  readonly client: KubeClient;
  /** The one namespace of our objects. */
  readonly namespace: string;
  /** Name of this replica. */
  readonly replica: string;
  readonly leadership: Leadership;
}

/** An API server as the home, shared by all replicas. Throws `config_invalid`; connects to nothing yet. */
export async function openKubernetesHome(config: ServerConfig, common: HomeContext): Promise<Home> {
  const client = KubeClient.open(kubeconfigOf(config));
  const leadership = new SoleLeadership();
  const context: KubernetesContext = {
    ...common,
    client,
    namespace: config.kubernetesNamespace,
    replica: replicaNameOf(config),
    leadership,
  };
  const directory = memoryDocuments();
  const identity = await openLocalIdentity({ ...common, directory, names: serverNamesOf(config) });
  return {
    identity,
    sessions: new LocalSessions(identity.epochs),
    leadership,
    openPipeline: (deps) => openKubernetesPipeline(context, deps),
    notReady: () => [],
    tasks: {},
    close: async () => client.close(),
  };
}
