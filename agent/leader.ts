import type { Clock, Random } from "../common/runtime/clock.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { Latest } from "../common/runtime/latest.ts";
import type { Log } from "../common/runtime/log.ts";
import { retry } from "../common/runtime/retry.ts";
import { joinTasks, runTasks, type Tasks } from "../common/runtime/tasks.ts";
import { Dialer } from "../common/session/client.ts";
import { keyOf } from "../common/session/resource-set.ts";
import { IntentHolder } from "./apply/intent-holder.ts";
import type { AgentConfig } from "./config.ts";
import { AgentIdentity } from "./identity/agent-identity.ts";
import type { AgentCredentials } from "./identity/documents.ts";
import { enrollmentAddressOf } from "./identity/options.ts";
import { relayChannel, type RelayChannel } from "./relay/relay-channel.ts";
import { RelayClient, type ReportSources, type RelayClientObserver } from "./relay/relay-client.ts";
import type { AgentHome } from "./store/home.ts";

/** After a start the pods must have had time to link again before anybody is taken for gone. */
const RELEASE_GRACE_MS = 10 * 60_000;
const OPEN_RETRY = { baseMs: 500, capMs: 10_000 };

export interface LeaderOptions {
  readonly config: AgentConfig;
  readonly home: Pick<AgentHome, "intent" | "identity" | "leaderTasks">;
  readonly report: ReportSources;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Counts what the session with the server does. */
  readonly observer?: RelayClientObserver;
}

/** What a leader holds while it leads. */
export interface LeaderParts {
  readonly identity: AgentIdentity;
  readonly intent: IntentHolder;
  readonly relay: RelayClient;
}

/** What one replica of the agent does for all: the identity, the session with the server, the intent. */
export class Leader {
  /** null while another replica leads, or none. */
  readonly parts = new Latest<LeaderParts | null>(null);
  readonly #options: LeaderOptions;

  constructor(options: LeaderOptions) {
    this.#options = options;
  }

  /**
   * Leads until `signal` is aborted: everything is read anew, since another replica may have written it. Throws faults of
   * a home that nobody mends while the agent runs.
   */
  async lead(signal: AbortSignal): Promise<void> {
    const parts = await this.#open(signal).catch((error: unknown) => {
      // The lease was lost meanwhile: that is no fault, and somebody else leads.
      if (signal.aborted) return undefined;
      throw error;
    });
    if (!parts) return;
    this.parts.set(parts);
    const { home, report } = this.#options;
    try {
      const own: Tasks = {
        relay: (stop) => runRelay(parts, stop),
        release: (stop) => this.#releaseUnused(parts.intent, stop),
        intent: (stop) => home.intent.guard((letGo) => parts.intent.restore(letGo), stop),
      };
      await runTasks(signal, joinTasks(home.leaderTasks(report.statuses), own));
    } finally {
      this.parts.set(null);
    }
  }

  async #open(signal: AbortSignal): Promise<LeaderParts> {
    const { config, home, report, clock, random, log, observer } = this.#options;
    const { cluster, authority } = config;
    const enrollment = { address: enrollmentAddressOf(config), authority };
    const common = { clock, random, log };
    const onRetry = (err: MeshError): void => log.warn("what this replica leads with cannot be read", { err });
    const open = async (): Promise<LeaderParts> => {
      const identity = await AgentIdentity.open({ home: home.identity, cluster, enrollment, ...common });
      const intent = await IntentHolder.open(home.intent, signal);
      const dial = (credentials: AgentCredentials): RelayChannel => relayChannel(dialServer(config, credentials));
      return {
        identity,
        intent,
        relay: new RelayClient({ ...common, identity, intent, report, dial, ...(observer && { observer }) }),
      };
    };
    const { patient } = home.identity;
    return retry(() => (patient ? open().catch(asRetriable) : open()), {
      ...{ ...OPEN_RETRY, clock, random, signal, onRetry },
    });
  }

  /** Lets go of what was removed on purpose once no pod, linked or remembered, uses it. */
  async #releaseUnused(intent: IntentHolder, signal: AbortSignal): Promise<void> {
    const { clock, report, log } = this.#options;
    await clock.sleep(RELEASE_GRACE_MS, signal);
    for await (const statuses of report.statuses.watch(signal)) {
      const used = new Set(
        statuses.flatMap(({ name, replicas }) => (name && replicas.length > 0 ? [keyOf(name)] : [])),
      );
      try {
        await intent.release((name) => used.has(keyOf(name)));
      } catch (thrown) {
        // It is tried again at the next change; nothing waits for it.
        log.warn("a certificate that nobody uses cannot be let go", { err: MeshError.from(thrown) });
      }
    }
  }
}

/** What is missing in the API server, a right for example, may come; istiods are served meanwhile. */
function asRetriable(thrown: unknown): never {
  const { code, message, hint } = MeshError.from(thrown);
  throw new MeshError(code, message, { cause: thrown, retriable: true, ...(hint && { hint }) });
}

/** Holds the session with the management server, once there is an identity to show. */
async function runRelay({ identity, relay }: LeaderParts, signal: AbortSignal): Promise<void> {
  await identity.ensure(signal);
  await runTasks(signal, {
    session: (stop) => relay.run(stop),
    identity: (stop) => identity.run(stop, (csr, until) => relay.renewCertificate(csr, until)),
    renewals: async (stop) => {
      for await (const credentials of identity.credentials.watch(stop)) relay.reconnectUnless(credentials);
    },
  });
}

function dialServer({ serverAddress, authority }: AgentConfig, credentials: AgentCredentials): Dialer {
  const { trustBundlePem: rootsPem, keyPem, certificatePem } = credentials;
  return new Dialer({
    address: serverAddress,
    authority,
    peer: `management server ${serverAddress}`,
    tls: { rootsPem, identity: { keyPem, certificatePem }, minVersion: "TLSv1.3" },
  });
}
