import { createObject, deleteObject } from "../../common/kube/objects.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { RegisterClusterResponse } from "../../proto/gen/admin/v1/admin.ts";
import { withServer } from "../connection.ts";
import { findSession } from "../sessions.ts";
import { warn } from "../output.ts";
import type { RegisterConfig } from "../register.ts";
import { type AgentRelease, helmCommand, runHelm } from "./agent-chart.ts";
import { awaitAgent } from "./await-agent.ts";
import { Cluster, KINDS } from "./cluster.ts";
import type { ClusterConfig } from "./options.ts";
import { checkSecrets, ensureNamespace, ROOT_SECRET, storeSecrets, TOKEN_SECRET } from "./remote.ts";

/** What became of a registration in a cluster. */
export interface Registration {
  readonly cluster: string;
  readonly namespace: string;
  readonly secrets: readonly string[];
  readonly tokenExpiresAt: Date | undefined;
  readonly trustPin: string;
  /** Installs the agent. */
  readonly helm: string;
  readonly installed: boolean;
  /** False where nobody waited for it. */
  readonly connected: boolean;
}

/** Where the chart is, when nobody says where. */
const CHART_HERE = "deploy/charts/enterprise-agent";

/**
 * Registers a cluster: its KubernetesCluster in the management cluster, then, in the cluster itself, the namespace and the
 * two Secrets that its agent enrols with; installs the agent's chart where one is given, and waits for the agent.
 * `askForToken` registers it with the server; it is called once all that can be checked before is checked.
 */
export async function registerInCluster(
  config: RegisterConfig & { readonly relayServerAddress: string },
  askForToken: () => Promise<RegisterClusterResponse>,
  signal: AbortSignal,
): Promise<Registration> {
  using management = new Cluster(config);
  using remote = new Cluster(remoteOf(config));
  await ensureNamespace(remote, signal);
  await checkSecrets(remote, signal);
  await ensureKubernetesCluster(management, config.name, signal);
  const response = await askForToken();
  await storeSecrets(remote, response, signal);
  warn(`registered ${config.name}: its secrets lie in namespace ${remote.namespace} of ${remote.title}`);
  const release: AgentRelease = {
    cluster: config.name,
    relayServerAddress: config.relayServerAddress,
    chart: config.agentChart ?? CHART_HERE,
    values: config.agentValues,
  };
  const installed = config.agentChart !== undefined;
  if (installed) {
    warn(`installing chart ${release.chart}`);
    await runHelm(remote, release, signal);
  }
  const connected = installed || config.wait;
  if (connected) await waitFor(config, remote, signal);
  return {
    cluster: config.name,
    namespace: remote.namespace,
    secrets: [ROOT_SECRET, TOKEN_SECRET],
    tokenExpiresAt: response.tokenExpiresAt,
    trustPin: response.trustPin,
    helm: helmCommand(remote, release),
    installed,
    connected,
  };
}

/** The cluster to register. Without a word about it nobody guesses: the current context may well be another one. */
function remoteOf({ remoteKubeconfig, remoteContext, remoteNamespace, kubeconfig }: RegisterConfig) {
  if (remoteContext === undefined && remoteKubeconfig === undefined) {
    throw new MeshError("config_invalid", "which cluster is to be registered? --remote-context is not given", {
      hint: "give --remote-context, the management cluster's own where that one has an agent too",
    });
  }
  return { kubeconfig: remoteKubeconfig ?? kubeconfig, kubecontext: remoteContext, namespace: remoteNamespace };
}

async function ensureKubernetesCluster(management: Cluster, name: string, signal: AbortSignal): Promise<void> {
  const { namespace, client } = management;
  if (await management.find(KINDS.kubernetesCluster, { namespace, name }, signal)) return;
  const object = { metadata: { name, namespace }, spec: {} };
  await createObject(client, { type: KINDS.kubernetesCluster, object, fieldManager: "meshctl" }, signal).catch(
    (thrown: unknown) => {
      const error = MeshError.from(thrown);
      if (error.code === "conflict") return undefined;
      if (error.code !== "not_found") throw error;
      throw new MeshError("failed_precondition", `${management.title} has no kubernetesclusters in ${namespace}`, {
        hint: `apply deploy/crds to the management cluster, and see that namespace ${namespace} is there`,
        cause: error,
      });
    },
  );
}

async function waitFor(config: RegisterConfig, remote: Cluster, signal: AbortSignal): Promise<void> {
  const { name, timeout } = config;
  warn(`waiting up to ${Math.round(timeout / 1000)} s for the agent of ${name}`);
  await withServer(config, signal, async (dialer) => {
    const session = () => findSession(dialer, name, signal);
    const onStage = (stage: string): void => warn(`  ${stage}`);
    await awaitAgent(remote, { clock: systemClock, timeoutMs: timeout, session, onStage }, signal);
  });
}

/** Deletes the KubernetesCluster; false where there was none. */
export async function forgetCluster(
  config: ClusterConfig & { readonly name: string },
  signal: AbortSignal,
): Promise<boolean> {
  using management = new Cluster(config);
  const type = KINDS.kubernetesCluster;
  const place = { namespace: management.namespace, name: config.name };
  const found = await management.find(type, place, signal);
  if (!found) return false;
  // Whatever version: the end of its session changes the status just now.
  const { uid } = found.metadata;
  await deleteObject(
    management.client,
    type,
    { metadata: { ...place, ...(uid === undefined ? {} : { uid }) } },
    signal,
  );
  return true;
}
