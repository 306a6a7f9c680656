import { systemClock } from "../common/runtime/clock.ts";
import { formatHostPort } from "../common/runtime/settings.ts";
import { agentSpec, type Cluster, initContainerSpec, sidecarSpec } from "./cluster.ts";
import { untilOk } from "./http.ts";
import type { LogLine } from "./log-lines.ts";
import type { ClusterStep } from "./progress.ts";
import { registerCluster, serverSpec } from "./server.ts";
import { clusterNames, type Setting, type Site } from "./setting.ts";
import { awaitSessions } from "./status.ts";
import { openVault, setUpVault } from "./vault.ts";
import { createVaultRoot, type VaultRoot } from "./vault-setup.ts";
import { isIssued, viewOf } from "./view.ts";
import { writeVirtualMesh } from "./workspace.ts";

/** As the guide makes it. */
const ROOT = { organization: "my-org", key: { type: "rsa", bits: 4096 } } as const;
/** Host and port of the VirtualMesh's `server`. */
const VAULT_IN_MESH = "vault.vault:8200";

const LINKED = "linked to the agent";

/** Which lines of an istiod-agent's log show a step. */
const INIT_STEPS: ReadonlyMap<string, ClusterStep> = new Map([
  [LINKED, "istiod-agent waits"],
  ["logged in to vault", "logged in to vault"],
  ["vault signed the certificate", "ca signed"],
  ["installed a certificate", "installed"],
]);

/**
 * The main job: everything is started, the VirtualMesh is published when all istiod-agents wait, and this resolves once
 * every sidecar has reported its certificate. Returns the root that Vault signs under, PEM.
 */
export async function converge(setting: Setting, signal: AbortSignal): Promise<string> {
  const { progress, sites, workspace, server } = setting;
  const clusters = clusterNames(setting);
  const root = makeRoot(setting);
  // One Vault for each cluster, as in the guide; yours serves them all.
  const groups = setting.vault.kind === "yours" ? [sites] : sites.map((site) => [site]);
  const vaults = Promise.all(groups.map((group) => startVault(setting, { group, root }, signal)));
  // It is awaited below; a fault before that must not count as unhandled.
  vaults.catch(() => undefined);
  await startServer(setting, signal);
  await Promise.all(sites.map((site) => startAgent(setting, site, signal)));
  const addresses = (await vaults).flat();
  const pods = sites.map(({ cluster }, index) => ({ cluster, resolve: resolveOf(setting, addresses[index] ?? "") }));
  const istiods = Promise.all(pods.map((pod) => runIstiodAgents(setting, pod, signal)));
  const onConnected = (cluster: string): void => progress.reachedBy(cluster, "enrolled");
  const waiting = Promise.all([
    awaitSessions(server.admin, { clusters, onConnected }, signal),
    progress.until("istiod-agent waits", clusters, signal),
  ]);
  await Promise.race([waiting, istiods]);
  progress.reached("virtual mesh published", await writeVirtualMesh(workspace, clusters));
  const [linkedAtMs] = await Promise.all([istiods, untilDelivered(setting, signal)]);
  await untilReported(setting, Math.max(...linkedAtMs), signal);
  return (await root).certificatePem;
}

async function makeRoot({ progress }: Setting): Promise<VaultRoot> {
  const root = await createVaultRoot(ROOT.organization, ROOT.key, systemClock.now());
  progress.reached("root made", `O=${ROOT.organization}, ${ROOT.key.type} ${ROOT.key.bits}`);
  return root;
}

async function startServer({ programs, progress, server, workspace }: Setting, signal: AbortSignal): Promise<void> {
  await programs.start(serverSpec(server, workspace));
  await untilOk(`http://${server.monitor}/readyz`, "server", signal);
  progress.reached("server ready", `relay ${formatHostPort(server.fixed.relay)}`);
}

/** Opens and sets up the one Vault of some clusters. Returns its address, once for each. */
async function startVault(
  { vault, programs, workspace, progress, config }: Setting,
  { group, root }: { group: readonly Site[]; root: Promise<VaultRoot> },
  signal: AbortSignal,
): Promise<string[]> {
  const [first] = group;
  if (!first) return [];
  const access = await openVault(vault, { cluster: first.cluster.name, programs, workspace }, signal);
  for (const { cluster } of group) progress.reachedBy(cluster.name, "vault ready", access.address);
  await setUpVault(access, { ...first, root: await root, overwrite: config.setup });
  for (const { cluster, reviewUrl } of group) {
    progress.reachedBy(cluster.name, "vault set up", `tokens are reviewed by ${reviewUrl}`);
  }
  return group.map(() => access.address);
}

/** A Vault that the demo started is reached under the name in the VirtualMesh; agents know the address of yours. */
function resolveOf({ vault }: Setting, address: string): string | undefined {
  return vault.kind === "yours" ? undefined : `${VAULT_IN_MESH}:${new URL(address).host}`;
}

async function startAgent(setting: Setting, { cluster }: Site, signal: AbortSignal): Promise<void> {
  const { programs, progress, server, vault } = setting;
  const trustPin = await registerCluster(server, cluster);
  progress.reachedBy(cluster.name, "registered");
  const spec = agentSpec(cluster, { ...server.fixed, trustPin });
  const override = vault.kind === "yours" ? ["--vault-server", vault.address] : [];
  await programs.start({ ...spec, args: [...spec.args, ...override] });
  await untilOk(`http://${cluster.agentMonitor}/readyz`, spec.name, signal);
}

interface IstiodPod {
  readonly cluster: Cluster;
  readonly resolve: string | undefined;
}

/** The two containers of an istiod pod, one after the other. Returns when the sidecar linked, in ms since the epoch. */
async function runIstiodAgents({ programs, progress }: Setting, pod: IstiodPod, signal: AbortSignal): Promise<number> {
  const { name } = pod.cluster;
  const spec = initContainerSpec(pod.cluster, pod.resolve);
  const onLine = ({ message }: LogLine): void => {
    const step = INIT_STEPS.get(message);
    if (!step) return;
    programs.forgetFault(spec.name);
    progress.reachedBy(name, step);
  };
  await programs.complete({ ...spec, onLine }, signal);
  progress.reachedBy(name, "istiod may start");
  let linkedAtMs = 0;
  const onSidecarLine = ({ message, atMs }: LogLine): void => {
    if (message !== LINKED) return;
    linkedAtMs ||= atMs;
    progress.reachedBy(name, "sidecar linked");
  };
  await programs.start({ ...sidecarSpec(pod.cluster, pod.resolve), onLine: onSidecarLine });
  await progress.until("sidecar linked", [name], signal);
  return linkedAtMs;
}

async function untilDelivered({ status, progress, sites }: Setting, signal: AbortSignal): Promise<void> {
  await status.until((response) => {
    const applied = viewOf(response)?.clusters.filter((view) => view.applied) ?? [];
    for (const { cluster } of applied) progress.reachedBy(cluster, "intent delivered");
    return applied.length === sites.length;
  }, signal);
}

/** Waits for a status newer than the last link: an older one may speak of what the init-containers reported. */
async function untilReported(setting: Setting, linkedAtMs: number, signal: AbortSignal): Promise<void> {
  const { status, progress, sites } = setting;
  await status.until((response) => {
    if ((response.serverTime?.getTime() ?? 0) < linkedAtMs) return false;
    const reported = viewOf(response)?.clusters.filter((view) => view.connected && isIssued(view)) ?? [];
    for (const { cluster, state } of reported) progress.reachedBy(cluster, "status reported", state);
    return reported.length === sites.length;
  }, signal);
}
