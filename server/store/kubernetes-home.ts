import { KubeClient } from "../../common/kube/client.ts";
import { EventRecorder } from "../../common/kube/events.ts";
import { kubeconfigOf, replicaNameOf } from "../../common/kube/settings.ts";
import { joinTasks, type Tasks } from "../../common/runtime/tasks.ts";
import { serverNamesOf, type ServerConfig } from "../config.ts";
import { serverIdentity } from "../identity/identity.ts";
import { ClusterObjects } from "./cluster-objects.ts";
import type { Home, HomeContext } from "./home.ts";
import { cloneEvent, KubernetesClusters } from "./kubernetes-clusters.ts";
import type { ApiServerContext } from "./kubernetes-context.ts";
import { KubernetesLeadership } from "./kubernetes-leadership.ts";
import { openKubernetesPipeline } from "./kubernetes-pipeline.ts";
import { KubernetesPki } from "./kubernetes-pki.ts";
import { KubernetesSessions } from "./kubernetes-sessions.ts";
import type { LeaderTask } from "./leadership.ts";
import { Replicas } from "./replicas.ts";

/** What the last records of sessions get at the end: the next replica reads them, and does well without. */
const FLUSH_MS = 2_000;

/** An API server as the home, shared by all replicas. Throws `config_invalid`; connects to nothing yet. */
export async function openKubernetesHome(config: ServerConfig, common: HomeContext): Promise<Home> {
  const { kubernetesNamespace: namespace, disableRelayCa: ownCertificates } = config;
  const client = KubeClient.open(kubeconfigOf(config));
  const closing = new AbortController();
  const replica = replicaNameOf(config);
  const context: ApiServerContext = { ...common, client, namespace, stop: closing.signal };
  const clusters = new ClusterObjects(context);
  const replicas = new Replicas({ ...context, replica });
  const leadership = new KubernetesLeadership({ ...context, replica });
  const events = new EventRecorder({ ...context, program: "enterprise-networking", replica });
  const store = new KubernetesClusters(clusters, { ...context, events });
  const enrolled = (): number | undefined =>
    clusters.isSynced ? store.list().filter(({ state }) => state === "ENROLLED").length : undefined;
  const pki = new KubernetesPki({ ...context, names: serverNamesOf(config), ownCertificates, enrolled });
  const identity = serverIdentity({ ...common, pki, store, ownCertificates });
  const { clones } = identity.registry;
  clones.onSighted((sighting) => {
    const regarding = clusters.get(sighting.cluster);
    if (regarding) events.record({ regarding, ...cloneEvent(sighting) });
  });
  const sessions = new KubernetesSessions({ objects: clusters, replicas, replica, events, clones, context });
  const tasks: Tasks = {
    clusters: (stop) => clusters.run(stop),
    replicas: (stop) => replicas.run(stop),
    sessions: (stop) => sessions.run(stop),
    events: (stop) => events.run(stop),
  };
  return {
    identity,
    sessions,
    leadership,
    openPipeline: async (deps) => {
      const pipeline = await openKubernetesPipeline({ ...context, clusters, events }, deps);
      const pruning: Record<string, LeaderTask> = { "dead replicas": (stop) => replicas.prune(stop) };
      return { ...pipeline, leaderTasks: joinTasks(pipeline.leaderTasks, pruning) };
    },
    notReady: () => [...pki.notReady, ...(clusters.isSynced ? [] : ["the clusters have not been read yet"])],
    tasks,
    close: async () => {
      await sessions.flush(AbortSignal.timeout(FLUSH_MS));
      closing.abort();
      client.close();
    },
  };
}
