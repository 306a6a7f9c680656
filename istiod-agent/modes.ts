import { join } from "node:path";
import { LinkMode } from "../proto/gen/istiod/v1/istiod.ts";
import { systemClock, type Clock, type Random } from "../common/runtime/clock.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { Latest } from "../common/runtime/latest.ts";
import { createRegistry, runMonitor, type Registry } from "../common/runtime/metrics.ts";
import type { ProgramContext } from "../common/runtime/process.ts";
import { retry } from "../common/runtime/retry.ts";
import { runTasks } from "../common/runtime/tasks.ts";
import { podContextOf, type IstiodAgentConfig } from "./config.ts";
import { Installer } from "./install/installer.ts";
import { obtain } from "./issue/obtain.ts";
import { attemptCounter, registerKeeperMetrics, renewalFaults } from "./keeper/health.ts";
import { Keeper, type Prove, type Workplace } from "./keeper/keeper.ts";
import { AgentLink } from "./link/agent-link.ts";
import type { OrderState } from "./link/order-state.ts";
import { istiodClient } from "./prove/istiod.ts";
import { prove, proveWithin } from "./prove/prove.ts";

/** Names of the token files in the service account directory. */
const LINK_TOKEN = "enterprise-agent-token";
const ISTIOD_TOKEN = "istio-ca-token";

const OPEN_BACKOFF = { baseMs: 500, capMs: 15_000 };
const PROOF_WINDOW_MS = 10_000;
const PROOF_INTERVAL_MS = 500;

/** What a mode runs with: the program's log and stop signal, and time and chance where a test moves them. */
export interface ModeContext extends ProgramContext {
  readonly clock?: Clock;
  readonly random?: Random;
}

interface Parts {
  readonly keeper: Keeper;
  readonly link: AgentLink;
  readonly context: Required<ModeContext>;
}

/**
 * Before istiod starts: returns when the four files are complete, and only then. A sound set that lies there already is
 * enough. Throws `failed_precondition` when it is stopped before, `conflict` when another istiod-agent has the directory.
 */
export async function runInitContainer(config: IstiodAgentConfig, context: ModeContext): Promise<void> {
  const { keeper, link, context: full } = assemble(config, context, LinkMode.LINK_MODE_INIT, createRegistry());
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
  }
}

/** Beside istiod: renews and proves until it is stopped. `onMonitor` gets the address of /metrics. */
export async function runSidecar(
  config: IstiodAgentConfig,
  context: ModeContext,
  onMonitor: (address: string) => void = () => undefined,
): Promise<void> {
  const registry = createRegistry();
  const { keeper, link, context: full } = assemble(config, context, LinkMode.LINK_MODE_SIDECAR, registry);
  const { clock, log } = full;
  const pod = podContextOf(config);
  registerKeeperMetrics({ registry, states: keeper.states, pod, isLinked: () => link.connected, clock });
  const renewal = (): readonly string[] =>
    keeper.states.value ? renewalFaults(keeper.states.value, pod, clock.now()) : [];
  const monitor = { listen: config.monitorListen, registry, ready: () => [], checks: { "/renewalz": renewal } };
  await runTasks(context.signal, {
    monitor: (signal) =>
      runMonitor(monitor, signal, (address) => {
        log.info("serving metrics", { listen: address });
        onMonitor(address);
      }),
    link: (signal) => link.run(signal),
    keeper: async (signal) => {
      await using installer = await openInstaller(config, keeper, { ...full, signal });
      const workplace: Workplace = { installer, prove: proverOf(config, installer, clock) };
      await keeper.adopt(workplace);
      await keeper.run(workplace, signal);
    },
  });
}

function assemble(config: IstiodAgentConfig, context: ModeContext, mode: LinkMode, registry: Registry): Parts {
  const full = { clock: systemClock, random: Math.random, ...context };
  const { clock } = full;
  const {
    cacertsDir: directory,
    agentAddress: address,
    agentCaFile: caFile,
    agentAuthority: authority,
    resolve,
  } = config;
  const orders = new Latest<OrderState>({ kind: "waiting", reason: `not linked to agent ${address} yet` });
  const keeper = new Keeper({
    ...full,
    pod: podContextOf(config),
    directory,
    orders,
    obtain: (order, signal) => obtain(order, { clock, signal, resolve, log: full.log }),
    onAttempt: attemptCounter(registry),
  });
  const tokenFile = join(config.serviceAccountDir, LINK_TOKEN);
  const { statuses } = keeper;
  const link = new AgentLink({ ...full, address, caFile, authority, tokenFile, mode, orders, statuses });
  return { keeper, link, context: full };
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

function proverOf(config: IstiodAgentConfig, installer: Installer, clock: Clock): Prove {
  const createCertificate = istiodClient({
    address: config.istiodAddress,
    serverName: config.istiodServerName ?? `istiod.${config.podNamespace}.svc`,
    rootsPem: () => installer.installedRoot()?.pem ?? "",
    tokenPath: join(config.serviceAccountDir, ISTIOD_TOKEN),
  });
  return async (ca, fresh, signal) => {
    const deps = { createCertificate, clock, signal };
    const first = await prove(ca, deps);
    if (!fresh || first.kind === "proved" || first.kind === "absent") return first;
    const touch = (): void => installer.touch();
    return proveWithin(ca, { ...deps, windowMs: PROOF_WINDOW_MS, intervalMs: PROOF_INTERVAL_MS, touch });
  };
}
