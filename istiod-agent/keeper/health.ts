import type { Clock } from "../../common/runtime/clock.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import { Counter, Gauge, type Registry } from "../../common/runtime/metrics.ts";
import { runwaySeconds } from "../issue/plan.ts";
import type { PodContext } from "../pod/context.ts";
import { planOf, type KeeperState } from "./state.ts";

/**
 * Why the renewal of the CA is in danger; empty when all is well. For alerts on /renewalz alone: readiness and liveness
 * never depend on it, because they would take istiod out of its Service while it still signs well.
 */
export function renewalFaults(state: KeeperState, pod: PodContext, nowMs: number): readonly string[] {
  const { held } = state;
  const plan = planOf(state, pod);
  if (!held || !plan) return startupFaults(state);
  const reasons = [...failureOf(state)];
  const { notAfterMs } = held.ca.facts;
  if (notAfterMs <= nowMs) reasons.push(`the certificate expired at ${new Date(notAfterMs).toISOString()}`);
  else if (plan.alarmAtMs <= nowMs) {
    const hours = Math.floor(runwaySeconds(notAfterMs, nowMs) / 3600);
    reasons.push(
      `the certificate ends in ${hours} h and was to be renewed at ${new Date(plan.renewAtMs).toISOString()}`,
    );
  }
  return reasons;
}

/**
 * Why istiod cannot start yet; empty once the four files are complete. For the startup probe of a native sidecar, which
 * holds istiod back as an init container would.
 */
export function startupFaults(state: KeeperState): readonly string[] {
  const { held, order } = state;
  if (held) return [];
  return [`there is no certificate yet${order.kind === "waiting" ? `: ${order.reason}` : ""}`, ...failureOf(state)];
}

const failureOf = ({ failure }: KeeperState): readonly string[] =>
  failure ? [`${failure.error.code}: ${failure.error.message}`] : [];

export interface KeeperMetricsOptions {
  readonly registry: Registry;
  readonly states: Latest<KeeperState>;
  readonly pod: PodContext;
  readonly isLinked: () => boolean;
  readonly clock: Clock;
}

/** Registers the metrics of an istiod-agent. Times are unix seconds, 0 while there is no certificate. */
export function registerKeeperMetrics({ registry, states, pod, isLinked, clock }: KeeperMetricsOptions): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name: `istiod_agent_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  const held = () => states.value?.held;
  const plan = () => states.value && planOf(states.value, pod);
  const notAfterMs = (): number => held()?.ca.facts.notAfterMs ?? 0;
  gauge("ca_not_after_seconds", "End of the intermediate CA in force.", () => notAfterMs() / 1000);
  gauge("ca_renew_at_seconds", "When the next one will be asked for.", () => (plan()?.renewAtMs ?? 0) / 1000);
  gauge("ca_runway_hours", "Hours that this mesh lives on without Vault.", () => {
    return runwaySeconds(notAfterMs(), clock.now()) / 3600;
  });
  gauge("ca_proved", "1 when istiod was seen to sign with the CA in force.", () => {
    return held()?.proof?.kind === "proved" ? 1 : 0;
  });
  gauge("link_up", "1 while the stream to the agent is open.", () => (isLinked() ? 1 : 0));
}

/** Counts attempts to obtain a CA. */
export function attemptCounter(registry: Registry): (outcome: string) => void {
  const counter = new Counter({
    name: "istiod_agent_vault_attempts_total",
    help: "Attempts to obtain an intermediate CA from Vault, by outcome: ok, or the code of the fault.",
    labelNames: ["outcome"],
    registers: [registry],
  });
  return (outcome) => counter.inc({ outcome });
}
