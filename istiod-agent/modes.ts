import { LinkMode } from "../proto/gen/istiod/v1/istiod.ts";
import { systemClock, type Clock, type Random } from "../common/runtime/clock.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { Latest } from "../common/runtime/latest.ts";
import { createRegistry, runMonitor, type Check, type Registry } from "../common/runtime/metrics.ts";
import type { ProgramContext } from "../common/runtime/process.ts";
import { retry } from "../common/runtime/retry.ts";
import { runTasks } from "../common/runtime/tasks.ts";
import { agentAddressOf, podContextOf, type IstiodAgentConfig } from "./config.ts";
import { openCredentials } from "./home.ts";
import { Installer } from "./install/installer.ts";
import { obtain } from "./issue/obtain.ts";
import { attemptCounter, registerKeeperMetrics, renewalFaults, startupFaults } from "./keeper/health.ts";
import { Keeper, type Prove, type Workplace } from "./keeper/keeper.ts";
import type { KeeperState } from "./keeper/state.ts";
import { AgentLink } from "./link/agent-link.ts";
import type { OrderState } from "./link/order-state.ts";
import type { PodCredentials } from "./pod/credentials.ts";
import { istiodClient } from "./prove/istiod.ts";
import { prove, proveWithin } from "./prove/prove.ts";

const OPEN_BACKOFF = { baseMs: 500, capMs: 15_000 };
const PROOF_WINDOW_MS = 10_000;
const PROOF_INTERVAL_MS = 500;

/** What a mode runs with: the program's log and stop signal, and time and chance where a test moves them. */
export interface ModeContext extends ProgramContext {
  readonly clock?: Clock;
  readonly random?: Random;
}

interface Parts {
  readonly credentials: PodCredentials;
  readonly keeper: Keeper;
  readonly link: AgentLink;
  readonly context: Required<ModeContext>;
}

/**
 * Before istiod starts: returns when the four files are complete, and only then. A sound set that lies there already is
 * enough. Throws `failed_precondition` when it is stopped before, `conflict` when another istiod-agent has the directory.
 */
export async function runInitContainer(config: IstiodAgentConfig, context: ModeContext): Promise<void> {
  const parts = assemble(config, context, LinkMode.LINK_MODE_INIT, createRegistry());
  const { keeper, link, credentials, context: full } = parts;
  const done = new AbortController();
  const linked = link.run(AbortSignal.any([context.signal, done.signal]));
  try {
    await using installer = await openInstaller(config, keeper, full);
    await keeper.adopt({ installer });
    await keeper.runUntilHeld({ installer }, context.signal);
    context.log.info("the files are complete", { directory: config.cacertsDir });
  } catch (error) {
    if (!context.signal.aborted) throw error;
    throw new MeshError("failed_precondition", "stopped before the files were complete", { cause: error });
  } finally {
    done.abort();
    await linked;
    credentials.close();
  }
}

/** Beside istiod: renews and proves until it is stopped. `onMonitor` gets the address of /metrics. */
export async function runSidecar(
  config: IstiodAgentConfig,
  context: ModeContext,
  onMonitor: (address: string) => void = () => undefined,
): Promise<void> {
  const registry = createRegistry();
  const parts = assemble(config, context, LinkMode.LINK_MODE_SIDECAR, registry);
  const { keeper, link, credentials, context: full } = parts;
  const { clock, log } = full;
  const pod = podContextOf(config);
  registerKeeperMetrics({ registry, states: keeper.states, pod, isLinked: () => link.connected, clock });
  const about =
    (check: (state: KeeperState) => readonly string[]): Check =>
    () =>
      keeper.states.value ? check(keeper.states.value) : [];
  const checks = {
    "/startupz": about(startupFaults),
    "/renewalz": about((state) => renewalFaults(state, pod, clock.now())),
  };
  const monitor = { listen: config.monitorListen, registry, ready: () => [], checks };
  await runTasks(context.signal, {
    monitor: (signal) =>
      runMonitor(monitor, signal, (address) => {
        log.info("serving metrics", { listen: address });
        onMonitor(address);
      }),
    link: (signal) => link.run(signal),
    keeper: async (signal) => {
      await using installer = await openInstaller(config, keeper, { ...full, signal });
      const workplace: Workplace = { installer, prove: proverOf(config, { installer, credentials, clock }) };
      await keeper.adopt(workplace);
      await keeper.run(workplace, signal);
    },
  }).finally(() => credentials.close());
}

function assemble(config: IstiodAgentConfig, context: ModeContext, mode: LinkMode, registry: Registry): Parts {
  const full = { clock: systemClock, random: Math.random, ...context };
  const { clock } = full;
  const { cacertsDir: directory, agentAuthority: authority, resolve } = config;
  const address = agentAddressOf(config);
  const credentials = openCredentials(config, clock);
  const orders = new Latest<OrderState>({ kind: "waiting", reason: `not linked to agent ${address} yet` });
  const keeper = new Keeper({
    ...full,
    pod: podContextOf(config),
    credentials,
    directory,
    orders,
    obtain: (order, signal) => obtain(order, { clock, signal, resolve, log: full.log }),
    onAttempt: attemptCounter(registry),
  });
  const { statuses } = keeper;
  const { link: token, agentRoots: roots } = credentials;
  const link = new AgentLink({ ...full, address, roots, authority, token, mode, orders, statuses });
  return { credentials, keeper, link, context: full };
}

/** A directory that cannot be used is shown in the status until somebody has mended it. */
async function openInstaller(
  config: IstiodAgentConfig,
  keeper: Keeper,
  context: Required<ModeContext>,
): Promise<Installer> {
  const keyMode = config.cacertsKeyMode === "0640" ? 0o640 : 0o600;
  const { clock, random, signal, log } = context;
  return retry(() => Installer.open({ directory: config.cacertsDir, keyMode, clock }), {
    ...OPEN_BACKOFF,
    clock,
    random,
    signal,
    onRetry: (error, waitMs) => {
      log.warn("the directory for istiod cannot be used; trying again", { err: error });
      keeper.showFault(error, waitMs);
    },
  });
}

interface ProofTools {
  readonly installer: Installer;
  readonly credentials: PodCredentials;
  readonly clock: Clock;
}

function proverOf(config: IstiodAgentConfig, { installer, credentials, clock }: ProofTools): Prove {
  const createCertificate = istiodClient({
    address: config.istiodAddress,
    serverName: config.istiodServerName ?? `istiod.${config.podNamespace}.svc`,
    rootsPem: () => installer.installedRoot()?.pem ?? "",
    token: credentials.istiod,
  });
  return async (ca, fresh, signal) => {
    const deps = { createCertificate, clock, signal };
    const first = await prove(ca, deps);
    if (!fresh || first.kind === "proved" || first.kind === "absent") return first;
    const touch = (): void => installer.touch();
    return proveWithin(ca, { ...deps, windowMs: PROOF_WINDOW_MS, intervalMs: PROOF_INTERVAL_MS, touch });
  };
}
