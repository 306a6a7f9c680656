import { Writable } from "node:stream";
import { systemClock } from "../../common/runtime/clock.ts";
import { createLog } from "../../common/runtime/log.ts";
import { StateDirectory } from "../../common/runtime/state-directory.ts";
import type { WireResource } from "../../common/session/resource-set.ts";
import { methodTable, startGrpcServer } from "../../common/session/server.ts";
import { openLocalIdentity } from "../../server/store/local-identity.ts";
import { relayMethods } from "../../server/identity/methods.ts";
import { DEFAULT_SERVER_NAMES } from "../../server/identity/relay-ca.ts";
import { Hub } from "../../server/relay/hub.ts";
import { IntentBook } from "../../server/relay/intent-book.ts";
import { RELAY_SERVICE, relayService } from "../../server/relay/relay-service.ts";
import { LocalSessions } from "../../server/store/local-sessions.ts";
import { StatusBook } from "../../server/relay/status-book.ts";
import { serveCalls } from "../child.ts";
import { clusterName } from "../fleet.ts";
import { intentFor, KEY } from "./intent.ts";
import { type Content, type ListenArgument, measureRound, type RelayServerCalls, Tally } from "./server-calls.ts";

/** Our relay as the management server wires it, without sources and status: the bench writes the intent. */
class OurRelay {
  readonly #intents = new IntentBook();
  readonly #tally = new Tally();
  readonly #wanted = new Map<string, string>();
  #clusters: readonly string[] = [];
  #revision = 0;

  async listen({ stateDir, agents }: ListenArgument): Promise<string> {
    const log = createLog({ level: "info", program: "bench", stream: nowhere() });
    const clock = systemClock;
    const directory = await StateDirectory.open(stateDir, { program: "enterprise-networking" });
    const identity = await openLocalIdentity({ directory, names: DEFAULT_SERVER_NAMES, clock, log });
    const hub = new Hub({
      clock,
      log,
      intents: this.#intents,
      statuses: new StatusBook(),
      notReady: () => [],
      isServed: (cluster) => identity.registry.isServed(cluster),
      sessions: new LocalSessions(identity.epochs),
      onSessionChange: (cluster) => {
        const held = hub.agents.acknowledged(cluster, KEY);
        if (held !== undefined && held === this.#wanted.get(cluster)) this.#tally.take(cluster);
      },
      // The bench wants to know what connecting costs, not what admission allows.
      hellosPerSecond: 1_000_000,
    });
    void hub.run(new AbortController().signal);
    this.#clusters = Array.from({ length: agents }, (_, number) => clusterName(number));
    this.#change("same");
    const { address } = await startGrpcServer({
      listen: "127.0.0.1:0",
      credentials: identity.pki.certificate.relay,
      services: [relayService({ hub, identity })],
      authorize: methodTable(relayMethods(identity.registry)),
      reflect: [RELAY_SERVICE],
    });
    return address;
  }

  push(content: Content) {
    return measureRound(this.#tally, () => this.#change(content));
  }

  calls(): RelayServerCalls {
    return {
      listen: (argument) => this.listen(argument),
      settled: () => this.#tally.all,
      push: (content) => this.push(content),
      results: () => this.#tally.results,
    };
  }

  #change(content: Content): void {
    this.#revision += 1;
    this.#tally.expect(this.#clusters);
    const shared = intentFor("all", this.#revision);
    for (const cluster of this.#clusters) {
      this.#put(cluster, content === "same" ? shared : intentFor(cluster, this.#revision));
    }
  }

  #put(cluster: string, resource: WireResource): void {
    this.#wanted.set(cluster, resource.version);
    this.#intents.set(cluster, new Map([[KEY, resource]]));
  }
}

/** Log lines are made as in the product, and dropped. */
const nowhere = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() });

serveCalls(new OurRelay().calls());
