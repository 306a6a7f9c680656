import { readFile } from "node:fs/promises";
import type { Clock, Random } from "../common/runtime/clock.ts";
import { Latest } from "../common/runtime/latest.ts";
import type { Log } from "../common/runtime/log.ts";
import type { Discovery } from "../proto/gen/discovery/v1/discovery.ts";
import { LinkBook } from "./certs/links.ts";
import type { VaultOverrides } from "./certs/orders.ts";
import type { AgentConfig } from "./config.ts";
import { Leader } from "./leader.ts";
import type { ReportSources } from "./relay/relay-client.ts";
import type { RelayClientObserver } from "./relay/relay-client.ts";
import type { PodBounces } from "./relay/status-diff.ts";
import { type AgentHome, type ClusterStatus, openHome } from "./store/home.ts";

/** The rooms of the agent, wired to each other and not yet running. */
export interface AgentParts {
  readonly home: AgentHome;
  readonly book: LinkBook;
  readonly status: ClusterStatus;
  readonly report: ReportSources;
  readonly leader: Leader;
}

export interface PartsOptions {
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly observer?: RelayClientObserver;
}

/** A pod that left is forgotten after this time, once its certificate has expired too, where nobody says that it is gone. */
const FORGET_REPLICA_MS = 60 * 60_000;

/** Opens the rooms bottom-up from the agent's home. Throws what `openHome` does, and faults of files that are given. */
export async function openParts({ config, clock, random, log, observer }: PartsOptions): Promise<AgentParts> {
  const orders = { cluster: config.cluster, vault: await vaultOverrides(config) };
  const discovery = new Latest<Discovery>();
  const podBounces = new Latest<PodBounces>(new Map());
  const home = await openHome(config, { clock, random, log, orders, discovery, podBounces });
  const { intent, recall } = home;
  const book = new LinkBook({
    ...{ held: intent.certificates, context: orders, forgetAfterMs: FORGET_REPLICA_MS, clock, recall },
  });
  const status = home.openStatus(book);
  const report = { statuses: status.statuses, podBounces, discovery };
  const observed = observer ? { observer } : {};
  const leader = new Leader({ config, home, report, clock, random, log, ...observed });
  return { home, book, status, report, leader };
}

async function vaultOverrides(config: AgentConfig): Promise<VaultOverrides> {
  const { vaultServer: server, vaultNamespace: namespace, vaultMountPath: mountPath, vaultCaBundleFile } = config;
  const caBundle = vaultCaBundleFile === undefined ? undefined : await readFile(vaultCaBundleFile, "utf8");
  return { server, namespace, mountPath, caBundle };
}
