import { IntentHolder, type IntentStore } from "../../agent/apply/intent-holder.ts";
import { NOTHING_HELD } from "../../agent/apply/apply-machine.ts";
import { relayChannel } from "../../agent/relay/relay-channel.ts";
import { RelayClient } from "../../agent/relay/relay-client.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { Dialer } from "../../common/session/client.ts";
import type { KeyAndChain } from "../../common/session/tls.ts";
import { serveCalls } from "../child.ts";
import { clusterName, readFleet } from "../fleet.ts";
import type { ConnectArgument } from "./load.ts";

/** Agents with the product's own client, which keep nothing on disk. */
export type RestartLoadCalls = {
  /** Starts them; each goes on as agents do, whatever becomes of the server. */
  readonly start: (argument: ConnectArgument) => Promise<void>;
};

async function start({ address, fleetFile, agents }: ConnectArgument): Promise<void> {
  const { agents: identities, rootsPem } = await readFleet(fleetFile);
  const signal = new AbortController().signal;
  for (const [number, identity] of identities.slice(0, agents).entries()) {
    const client = await clientOf({ address, rootsPem, identity, cluster: clusterName(number) }, signal);
    void client.run(signal);
  }
}

interface Agent {
  readonly address: string;
  readonly rootsPem: string;
  readonly identity: KeyAndChain;
  readonly cluster: string;
}

async function clientOf(agent: Agent, signal: AbortSignal): Promise<RelayClient> {
  const { address, rootsPem, identity, cluster } = agent;
  const credentials = {
    ...identity,
    ...{ trustBundlePem: rootsPem, cluster, serial: cluster, notBeforeMs: 0, notAfterMs: Infinity },
  };
  return new RelayClient({
    ...{ clock: systemClock, random: Math.random, log: silentLog },
    identity: {
      current: () => credentials,
      confirm: () => Promise.resolve(),
      refused: () => Promise.resolve(false),
      heardRoots: () => undefined,
    },
    dial: () =>
      relayChannel(new Dialer({ address, tls: { rootsPem, identity, minVersion: "TLSv1.3" }, peer: "server" })),
    intent: await IntentHolder.open(inMemory(), signal),
    report: { statuses: new Latest([]), podBounces: new Latest(new Map()), discovery: new Latest() },
  });
}

/** Holds nothing over a new session, so that each one begins with a whole set. */
const inMemory = (): IntentStore => ({
  certificates: new Latest([]),
  load: () => Promise.resolve(NOTHING_HELD),
  save: () => Promise.resolve(new Map()),
  guard: () => Promise.resolve(),
});

serveCalls({ start });
