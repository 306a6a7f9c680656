import { Latest } from "../common/runtime/latest.ts";
import { systemClock } from "../common/runtime/clock.ts";
import { formatHostPort } from "../common/runtime/settings.ts";
import type { WatchStatusResponse } from "../proto/gen/admin/v1/admin.ts";
import { FakeServiceAccounts } from "../test/fakes/service-accounts.ts";
import { type Cluster, createCluster } from "./cluster.ts";
import type { DemoConfig } from "./config.ts";
import { createOutput, type Output } from "./output.ts";
import { planAddresses } from "./ports.ts";
import { Programs } from "./programs.ts";
import { Progress } from "./progress.ts";
import { planServer, type ServerPlan } from "./server.ts";
import { startTokenReview, type TokenReviewServer } from "./token-review.ts";
import { chooseVault, type VaultSource } from "./vault.ts";
import { createWorkspace, type Workspace, writeMeshes } from "./workspace.ts";

/** A cluster with what stands in for its API server. */
export interface Site {
  readonly cluster: Cluster;
  readonly review: TokenReviewServer;
  /** Where Vault calls `review`. */
  readonly reviewUrl: string;
}

/** All that the demo runs with. Disposing it stops every process and removes every file. */
export interface Setting extends AsyncDisposable {
  readonly config: DemoConfig;
  readonly output: Output;
  readonly progress: Progress;
  readonly workspace: Workspace;
  readonly programs: Programs;
  readonly vault: VaultSource;
  readonly server: ServerPlan;
  readonly sites: readonly Site[];
  /** What the server reported last. */
  readonly status: Latest<WatchStatusResponse>;
}

/** In their order. */
export const clusterNames = ({ sites }: Setting): string[] => sites.map(({ cluster }) => cluster.name);

/** Checks what can be checked before anything is started, then makes directories, keys and tokens. */
export async function prepare(config: DemoConfig): Promise<Setting> {
  const vault = chooseVault(config);
  const fixed = await planAddresses(config.clusters, config.portOffset);
  const output = createOutput(config.json);
  const progress = new Progress(systemClock, (mark) => output.mark(mark));
  await using stack = new AsyncDisposableStack();
  const workspace = stack.use(await createWorkspace());
  const programs = stack.use(
    new Programs({
      logs: workspace.logs,
      onRestart: (name, signal) => output.line(`${name} was ended by ${signal}; it is started again`),
    }),
  );
  const server = await planServer(fixed, workspace);
  const sites = await createSites(config, server, { workspace, stack });
  await writeMeshes(
    workspace,
    sites.map(({ cluster }) => cluster.name),
  );
  const resources = stack.move();
  const status = new Latest<WatchStatusResponse>();
  const dispose = () => resources.disposeAsync();
  return {
    config,
    output,
    progress,
    workspace,
    programs,
    vault,
    server,
    sites,
    status,
    [Symbol.asyncDispose]: dispose,
  };
}

/** A Vault of yours has one kubernetes auth mount, so all clusters then share one stand-in for the API server. */
async function createSites(
  config: DemoConfig,
  { fixed }: ServerPlan,
  { workspace, stack }: { workspace: Workspace; stack: AsyncDisposableStack },
): Promise<Site[]> {
  const sites: Site[] = [];
  let shared: Reviewer | undefined;
  for (const [index, istiodListen] of fixed.agents.entries()) {
    const reviewer = shared ?? (await createReviewer(config, stack));
    if (config.vault !== undefined) shared = reviewer;
    const { accounts, ...review } = reviewer;
    const cluster = await createCluster(`cluster-${index + 1}`, istiodListen, { workspace, accounts });
    sites.push({ cluster, ...review });
  }
  return sites;
}

type Reviewer = Pick<Site, "review" | "reviewUrl"> & { readonly accounts: FakeServiceAccounts };

async function createReviewer({ tokenReviewAddress }: DemoConfig, stack: AsyncDisposableStack): Promise<Reviewer> {
  const accounts = await FakeServiceAccounts.create();
  const [name = "127.0.0.1", port = "0"] = tokenReviewAddress?.split(":") ?? [];
  // A Vault elsewhere comes in by an address of this machine that only its owner knows.
  const host = tokenReviewAddress === undefined ? "127.0.0.1" : "0.0.0.0";
  const names = tokenReviewAddress === undefined ? [] : [name];
  const review = stack.use(await startTokenReview({ accounts, names, listen: { host, port: Number(port) } }));
  const reviewUrl = `https://${formatHostPort({ host: name, port: review.address.port })}`;
  return { accounts, review, reviewUrl };
}
