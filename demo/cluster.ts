import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { systemClock } from "../common/runtime/clock.ts";
import { writeFileAtomic } from "../common/runtime/files.ts";
import { formatHostPort, type HostPort } from "../common/runtime/settings.ts";
import type { FakeServiceAccounts } from "../test/fakes/service-accounts.ts";
import { freePort } from "../test/harness/ports.ts";
import { PodTokens } from "./pod-tokens.ts";
import { bundle, type ProgramSpec } from "./programs.ts";
import { secretDirectory, type Workspace } from "./workspace.ts";

const POD = { namespace: "istio-system", serviceAccount: "istiod-service-account" };

/** One cluster: its files and addresses. */
export interface Cluster {
  readonly name: string;
  /** Where its agent serves istiod-agents. */
  readonly istiodListen: HostPort;
  readonly debugListen: string;
  readonly agentMonitor: string;
  readonly sidecarMonitor: string;
  readonly podName: string;
  readonly tokens: PodTokens;
  readonly issuer: string;
  readonly directories: { readonly agentState: string; readonly cacerts: string; readonly secrets: string };
  readonly files: { readonly jwks: string; readonly agentCa: string; readonly registrationToken: string };
}

/** Makes the cluster's files: key set of its token issuer, and the tokens of istiod's pod. */
export async function createCluster(
  name: string,
  istiodListen: HostPort,
  { workspace, accounts }: { workspace: Workspace; accounts: FakeServiceAccounts },
): Promise<Cluster> {
  const home = secretDirectory(workspace, name);
  const uid = randomUUID();
  const pod = { name: `istiod-5f7c9d8b6-${uid.slice(0, 5)}`, uid };
  const directory = (child: string): string => secretDirectory(workspace, name, child);
  const tokens = new PodTokens(directory("service-account"), pod, { accounts, clock: systemClock });
  const jwks = join(home, "jwks.json");
  await writeFileAtomic(jwks, JSON.stringify(await accounts.jwks()));
  await tokens.write();
  const free = async (): Promise<string> => `127.0.0.1:${await freePort()}`;
  return {
    name,
    istiodListen,
    debugListen: await free(),
    agentMonitor: await free(),
    sidecarMonitor: await free(),
    podName: pod.name,
    tokens,
    issuer: accounts.issuer,
    directories: { agentState: directory("agent-state"), cacerts: directory("cacerts"), secrets: directory("secrets") },
    files: {
      jwks,
      agentCa: join(home, "enterprise-agent-ca.pem"),
      registrationToken: join(home, "registration-token"),
    },
  };
}

/** What an agent must know of the server. */
export interface ServerContact {
  readonly relay: HostPort;
  readonly enrollment: HostPort;
  readonly trustPin: string;
}

type Spec = Pick<ProgramSpec, "name" | "command" | "args" | "env" | "listeners" | "whenKilled">;

/** The agent of a cluster, with the single-use token that it enrols with. */
export function agentSpec(cluster: Cluster, server: ServerContact): Spec {
  const { name, istiodListen, debugListen, agentMonitor, directories, files, issuer } = cluster;
  const listen = formatHostPort(istiodListen);
  return {
    name: `agent ${name}`,
    listeners: { istiod: listen, debug: debugListen, monitor: agentMonitor },
    whenKilled: "restart",
    ...bundle(
      "enterprise-agent",
      ...["--relay-cluster", name, "--relay-server-address", formatHostPort(server.relay)],
      ...["--relay-enrollment-address", formatHostPort(server.enrollment)],
      ...["--relay-token-file", files.registrationToken, "--relay-trust-pin", server.trustPin],
      ...["--state-dir", directories.agentState, "--istiod-listen", listen, "--istiod-names", istiodListen.host],
      ...["--istiod-ca-file", files.agentCa, "--istiod-jwks-file", files.jwks, "--istiod-token-issuer", issuer],
      ...["--debug-listen", debugListen, "--monitor-listen", agentMonitor],
    ),
  };
}

/**
 * What istiod's pod runs before istiod. `resolve` says where the Vault of the VirtualMesh is, HOST:PORT:ADDRESS:PORT;
 * undefined where it is at its own address.
 */
export function initContainerSpec(cluster: Cluster, resolve: string | undefined): Spec {
  return {
    name: `init-container ${cluster.name}`,
    whenKilled: "restart",
    env: podEnvironment(cluster),
    ...bundle("istiod-agent", "init-container", ...istiodAgentFlags(cluster, resolve)),
  };
}

/** What istiod's pod runs beside istiod. */
export function sidecarSpec(cluster: Cluster, resolve: string | undefined): Spec {
  const { name, sidecarMonitor } = cluster;
  return {
    name: `sidecar ${name}`,
    listeners: { monitor: sidecarMonitor },
    whenKilled: "restart",
    env: podEnvironment(cluster),
    ...bundle("istiod-agent", "sidecar", ...istiodAgentFlags(cluster, resolve), "--monitor-listen", sidecarMonitor),
  };
}

function istiodAgentFlags(
  { istiodListen, directories, files, tokens }: Cluster,
  resolve: string | undefined,
): string[] {
  return [
    ...["--agent-address", formatHostPort(istiodListen), "--agent-ca-file", files.agentCa],
    ...["--cacerts-dir", directories.cacerts, "--secrets-dir", directories.secrets],
    ...["--service-account-dir", tokens.directory],
    ...(resolve === undefined ? [] : ["--resolve", resolve]),
  ];
}

const podEnvironment = ({ podName }: Cluster): Readonly<Record<string, string>> => ({
  POD_NAME: podName,
  POD_NAMESPACE: POD.namespace,
  SERVICE_ACCOUNT: POD.serviceAccount,
});
