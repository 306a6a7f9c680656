import { Writable } from "node:stream";
import type { Mesh } from "../../common/api/discovery.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { createLog } from "../../common/runtime/log.ts";
import { StateDirectory } from "../../common/runtime/state-directory.ts";
import { methodTable, startGrpcServer } from "../../common/session/server.ts";
import { openLocalIdentity } from "../../server/store/local-identity.ts";
import { relayMethods } from "../../server/identity/methods.ts";
import { DEFAULT_SERVER_NAMES } from "../../server/identity/relay-ca.ts";
import { Hub } from "../../server/relay/hub.ts";
import { IntentBook } from "../../server/relay/intent-book.ts";
import { RELAY_SERVICE, relayService } from "../../server/relay/relay-service.ts";
import { LocalSessions } from "../../server/store/local-sessions.ts";
import { StatusBook } from "../../server/relay/status-book.ts";
import { MeshTranslator } from "../../server/translate/mesh-translator.ts";
import { serveCalls } from "../child.ts";
import { clusterName } from "../fleet.ts";
import { intentFor, KEY, meshWith } from "./intent.ts";
import {
  type Content,
  type ListenArgument,
  measureRound,
  nameVersions,
  type PushArgument,
  type RelayServerCalls,
  Tally,
} from "./server-calls.ts";

/** Our relay as the management server wires it, without sources and status: the bench writes what is wanted. */
class OurRelay {
  readonly #intents = new IntentBook();
  readonly #translator = new MeshTranslator({ intents: this.#intents, namespace: "gloo-mesh" });
  readonly #meshes = new Map<string, Mesh>();
  readonly #tally = new Tally();
  #clusters: readonly string[] = [];
  #revision = 0;

  async listen({ stateDir, agents, listen, admission }: ListenArgument): Promise<string> {
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
        if (held !== undefined && held === this.#wantedOf(cluster)) this.#tally.take(cluster);
      },
      // What connecting costs is measured apart from what admission allows.
      ...(admission ? {} : { hellosPerSecond: 1_000_000 }),
    });
    void hub.run(new AbortController().signal);
    this.#clusters = Array.from({ length: agents }, (_, number) => clusterName(number));
    this.#prepare("same")();
    this.#tally.expect(this.#clusters);
    const { address } = await startGrpcServer({
      listen: listen ?? "127.0.0.1:0",
      credentials: identity.pki.certificate.relay,
      services: [relayService({ hub, identity })],
      authorize: methodTable(relayMethods(identity.registry)),
      reflect: [RELAY_SERVICE],
    });
    return address;
  }

  push({ content, answers, watchLoop = false }: PushArgument) {
    this.#tally.expect(content === "one" ? this.#clusters.slice(0, 1) : this.#clusters, answers);
    return measureRound(this.#tally, watchLoop, this.#prepare(content));
  }

  calls(): RelayServerCalls {
    return {
      listen: (argument) => this.listen(argument),
      settled: () => this.#tally.all,
      push: (argument) => this.push(argument),
      results: () => this.#tally.results,
      wanted: () => nameVersions(this.#clusters.map((cluster) => this.#wantedOf(cluster) ?? "")),
    };
  }

  /** Makes what people and discovery would write, and returns what the server does about it. */
  #prepare(content: Content): () => void {
    const revision = (this.#revision += 1);
    if (content === "same") {
      return () => {
        const resources = new Map([[KEY, intentFor(revision)]]);
        for (const cluster of this.#clusters) this.#intents.set(cluster, resources);
      };
    }
    const changed = content === "one" ? this.#clusters.slice(0, 1) : this.#clusters;
    for (const cluster of changed) this.#meshes.set(cluster, meshWith(cluster, revision));
    return () => void this.#translator.take(this.#meshes);
  }

  #wantedOf(cluster: string): string | undefined {
    return this.#intents.get(cluster).resources.get(KEY)?.version;
  }
}

/** Log lines are made as in the product, and dropped. */
const nowhere = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() });

serveCalls(new OurRelay().calls());
