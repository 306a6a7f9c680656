import { Server, type ServerDuplexStream } from "@grpc/grpc-js";
import { ConnectResponse, RelayServiceService, type ConnectRequest } from "../../proto/gen/relay/v1/relay.ts";
import { digestOf, ISSUED_CERTIFICATE } from "../../common/session/resource-set.ts";
import { ReloadableServerCredentials } from "../../common/session/tls.ts";
import { serveCalls } from "../child.ts";
import { readFleet } from "../fleet.ts";
import { intentFor, KEY } from "./intent.ts";
import {
  type ListenArgument,
  measureRound,
  nameVersions,
  type PushArgument,
  type RelayServerCalls,
  Tally,
} from "./server-calls.ts";

type Stream = ServerDuplexStream<ConnectRequest, Buffer>;

/** The least that grpc-js can do: one encoded buffer is written to every stream, and results are decoded and counted. */
class BareRelay {
  readonly #tally = new Tally();
  readonly #streams = new Map<string, Stream>();
  #clusters: readonly string[] = [];
  #revision = 0;
  #push: Buffer = Buffer.alloc(0);
  #version = "";

  async listen({ fleetFile, agents }: ListenArgument): Promise<string> {
    const { server: own, rootsPem } = await readFleet(fleetFile);
    // Streams have no names here: they are counted in the order in which they come.
    this.#clusters = Array.from({ length: agents }, (_, number) => String(number));
    this.#tally.expect(this.#clusters);
    this.#encode();
    const definition = {
      ...RelayServiceService,
      connect: { ...RelayServiceService.connect, responseSerialize: (bytes: Buffer) => bytes },
    };
    const server = new Server();
    server.addService(definition, { connect: (stream: Stream) => this.#connect(stream) });
    const credentials = new ReloadableServerCredentials({ ...own, clientRootsPem: rootsPem, minVersion: "TLSv1.3" });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    return `127.0.0.1:${port}`;
  }

  calls(): RelayServerCalls {
    return {
      listen: (argument) => this.listen(argument),
      settled: () => this.#tally.all,
      push: (argument) => this.push(argument),
      results: () => this.#tally.results,
      wanted: () => nameVersions(this.#clusters.map(() => this.#version)),
    };
  }

  /** One encoded buffer for all streams, or for the one alone; in one turn of the event loop. */
  push({ content, answers, watchLoop = false }: PushArgument) {
    const clusters = content === "one" ? this.#clusters.slice(0, 1) : this.#clusters;
    this.#tally.expect(clusters, answers);
    return measureRound(this.#tally, watchLoop, () => {
      this.#encode();
      for (const cluster of clusters) this.#streams.get(cluster)?.write(this.#push);
    });
  }

  #connect(stream: Stream): void {
    const name = String(this.#streams.size);
    this.#streams.set(name, stream);
    stream.on("data", ({ message }: ConnectRequest) => {
      if (message?.$case === "result") this.#tally.take(name);
      if (message?.$case !== "hello") return;
      stream.write(WELCOME);
      stream.write(this.#push);
    });
    stream.on("error", () => undefined);
    stream.on("end", () => stream.end());
  }

  #encode(): void {
    this.#revision += 1;
    const { name, content, version } = intentFor(this.#revision);
    this.#version = version;
    const digest = digestOf(new Map([[KEY, version]]));
    const push = {
      type: ISSUED_CERTIFICATE,
      id: BigInt(this.#revision),
      base: digest,
      upserts: [{ name, content }],
      removals: [],
      digest,
    };
    this.#push = encode({ $case: "push", value: push });
  }
}

const encode = (message: NonNullable<ConnectResponse["message"]>): Buffer =>
  Buffer.from(ConnectResponse.encode({ message }).finish());

const WELCOME = encode({
  $case: "welcome",
  value: {
    sessionId: "00000000-0000-0000-0000-000000000000",
    epoch: 1n,
    heartbeatInterval: { seconds: 20n, nanos: 0 },
    serverTime: new Date(0),
    serverVersion: "0.0.0",
    capabilities: [],
    reconnectSpread: { seconds: 1n, nanos: 0 },
  },
});

serveCalls(new BareRelay().calls());
