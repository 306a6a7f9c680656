import { accessReviews } from "../../common/kube/access-review.ts";
import { KubeClient } from "../../common/kube/client.ts";
import { EventRecorder } from "../../common/kube/events.ts";
import { Reflector } from "../../common/kube/reflector.ts";
import { kubeconfigOf, replicaNameOf } from "../../common/kube/settings.ts";
import { tokenReviews } from "../../common/kube/token-review.ts";
import { admitPods } from "../certs/pod-admission.ts";
import { KubernetesTokenReviewer } from "../certs/kubernetes-token-reviewer.ts";
import { restartTasks } from "../bounce/pod-bouncer.ts";
import type { AgentConfig } from "../config.ts";
import { Discoverer } from "../discover/discoverer.ts";
import { IstiodDirectory } from "../discover/istiod-directory.ts";
import { enrollmentAddressOf } from "../identity/options.ts";
import { kubernetesIdentityHome } from "../identity/kubernetes-home.ts";
import { Claims } from "../status/claims.ts";
import { recallFrom, SharedStatus } from "../status/cluster-status.ts";
import { CaConfigMap } from "./ca-config-map.ts";
import { ISSUED_CERTIFICATES } from "./certificate-object.ts";
import type { AgentHome, HomeContext } from "./home.ts";
import { FIELD_MANAGER, type KubernetesContext } from "./kubernetes-context.ts";
import { KubernetesIntentStore } from "./kubernetes-intent-store.ts";
import { leaseLeadership } from "./kubernetes-leadership.ts";
import { PodWatch } from "./pod-watch.ts";

/** An API server as the home, shared by all replicas. Throws `config_invalid`; connects to nothing yet. */
export function openKubernetesHome(
  config: AgentConfig,
  { orders, discovery, podBounces, ...common }: HomeContext,
): AgentHome {
  const client = KubeClient.open(kubeconfigOf(config));
  const { cluster, kubernetesNamespace: namespace, istiodServiceAccounts: accounts } = config;
  const replica = replicaNameOf(config);
  const context: KubernetesContext = { ...common, client, owner: { namespace, cluster }, replica };
  const follow = { ...common, client, namespace };
  const certificates = new Reflector({ ...follow, type: ISSUED_CERTIFICATES });
  const { objects } = certificates;
  const intent = new KubernetesIntentStore(context, objects);
  const leadership = leaseLeadership(context);
  // Where pods matter: here, and where the accounts are that istiod runs as.
  const pods = new PodWatch(context, [namespace, ...accounts.map((account) => account.split("/")[0] ?? "")]);
  // Pods tell who lives only where this very replica is one of them: a program on a laptop has none.
  const isReplicaGone = (name: string): boolean => pods.hasName(namespace, replica) && pods.isNameGone(namespace, name);
  const ca = new CaConfigMap({ context, leading: leadership.leading, isReplicaGone, replicas: pods.changes });
  const discoverer = new Discoverer({ ...common, client, agentNamespace: namespace, discovery });
  const watched = { ...follow, istiods: discoverer.istiods };
  const directory = new IstiodDirectory(watched);
  const restarts = { ...watched, certificates: intent.certificates, bounces: podBounces };
  const events = new EventRecorder({ ...common, client, program: FIELD_MANAGER, replica });
  const claims = new Claims({ context, objects, isReplicaGone });
  return {
    intent,
    identity: kubernetesIdentityHome({ ...config, client, namespace, address: enrollmentAddressOf(config) }),
    leadership,
    reviewer: new KubernetesTokenReviewer(tokenReviews(client)),
    admission: admitPods({
      ...{ accounts, namespace, reviewAccess: accessReviews(client) },
      findIstiod: ({ podNamespace, podName: name, podUid: uid }, signal) =>
        directory.istiodOf({ namespace: podNamespace, name, uid }, signal),
    }),
    claim: (pod, signal) => claims.claim(pod, signal),
    recall: (podUid) => recallFrom(objects, podUid),
    publishCa: (caPem, signal) => ca.publish(caPem, signal),
    openStatus: (book) => new SharedStatus({ context, objects, pods, leadership, orders, isReplicaGone, events }, book),
    tasks: {
      certificates: (stop) => certificates.run(stop),
      "certificates in force": (stop) => intent.run(stop),
      pods: (stop) => pods.run(stop),
      "serving certificates": (stop) => ca.run(stop),
      discovery: (stop) => discoverer.run(stop),
    },
    leaderTasks: (statuses) => restartTasks({ ...restarts, certificateStatuses: statuses }),
    close: () => {
      client.close();
      return Promise.resolve();
    },
  };
}
