import { fileURLToPath } from "node:url";
import { createCsr } from "../../common/pki/csr.ts";
import { generateKey, loadPrivateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Dialer } from "../../common/session/client.ts";
import type { KeyAndChain } from "../../common/session/tls.ts";
import {
  AdminServiceService,
  ListSessionsRequest,
  type ClusterSession,
  type RegisterClusterResponse,
  type RelayCa,
  type RelayCaStage,
  RegistryServiceService,
} from "../../proto/gen/admin/v1/admin.ts";
import { EnrollmentServiceService } from "../../proto/gen/enrollment/v1/enrollment.ts";
import { RelayServiceService, type Welcome } from "../../proto/gen/relay/v1/relay.ts";
import { startApiServer, type ApiServer } from "../harness/api-server.ts";
import { temporaryFolder, type TemporaryFolder } from "../harness/folder.ts";
import { freePort } from "../harness/ports.ts";
import { startProcess, type RunningProcess } from "../harness/process.ts";
import { eventually } from "../harness/wait.ts";
import { serverKubeconfig } from "./server-account.ts";

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const NAMESPACE = "gloo-mesh";

/** A real API server with the CRDs, and what replicas of the server need to live on it. */
export class ReplicaWorld implements AsyncDisposable {
  readonly api: ApiServer;
  readonly folder: TemporaryFolder;
  /** With the rights of the server's account alone. */
  readonly kubeconfig: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(api: ApiServer, folder: TemporaryFolder, kubeconfig: string, stack: AsyncDisposableStack) {
    this.api = api;
    this.folder = folder;
    this.kubeconfig = kubeconfig;
    this.#stack = stack;
  }

  static async start(): Promise<ReplicaWorld> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await temporaryFolder());
    const api = stack.use(await startApiServer());
    await api.kubectl(["create", "namespace", NAMESPACE]);
    await api.kubectl(["apply", "--server-side", "-f", path("deploy/crds")]);
    await api.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
    return new ReplicaWorld(api, folder, await serverKubeconfig(api, folder), stack.move());
  }

  /** Starts a replica; it is ready when it says so, or at once with `ready: false`. */
  async replica(name: string, { flags = [], ready = true }: { flags?: string[]; ready?: boolean } = {}) {
    const local = async (): Promise<string> => `127.0.0.1:${await freePort()}`;
    const listen = { relay: await local(), enrollment: await local(), monitor: await local() };
    const socket = this.folder.file(`${name}.sock`);
    const process_ = this.#stack.use(
      await startProcess({
        name,
        command: process.execPath,
        args: [
          ...[path("server/main.ts"), "--kubernetes-kubeconfig", this.kubeconfig, "--replica-name", name],
          ...["--relay-listen", listen.relay, "--enrollment-listen", listen.enrollment, "--admin-socket", socket],
          ...["--admin-listen", await local(), "--monitor-listen", listen.monitor, ...flags],
        ],
        logFile: this.folder.file(`${name}-${performance.now()}.log`),
        ready: async () => (await fetch(`http://${listen.monitor}/${ready ? "readyz" : "livez"}`)).ok,
      }),
    );
    return new Replica(name, process_, { ...listen, socket });
  }

  /** An object as the API server has it; undefined where there is none. */
  async get<T>(kind: string, name: string): Promise<T | undefined> {
    const args = ["get", kind, name, "--namespace", NAMESPACE, "--output", "json", "--ignore-not-found"];
    const text = await this.api.kubectl(args);
    return text === "" ? undefined : (JSON.parse(text) as T);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

interface Addresses {
  readonly relay: string;
  readonly enrollment: string;
  readonly monitor: string;
  readonly socket: string;
}

const call = () => ({ signal: AbortSignal.timeout(30_000), timeoutMs: 30_000 });

/** One running replica. */
export class Replica {
  readonly name: string;
  readonly addresses: Addresses;
  readonly process: RunningProcess;

  constructor(name: string, process_: RunningProcess, addresses: Addresses) {
    this.name = name;
    this.process = process_;
    this.addresses = addresses;
  }

  register(cluster: string, { renewToken = false } = {}): Promise<RegisterClusterResponse> {
    return this.#admin((dialer) =>
      dialer.unary(RegistryServiceService.registerCluster, { cluster, tokenTtlSeconds: 0, renewToken }, call()),
    );
  }

  /** How a rotation of the relay's root stands. */
  async relayCa(): Promise<RelayCa | undefined> {
    return (await this.#admin((dialer) => dialer.unary(AdminServiceService.getRelayCa, {}, call()))).ca;
  }

  async rotateRelayCa(from: RelayCaStage): Promise<RelayCa | undefined> {
    const request = { from, force: false };
    return (await this.#admin((dialer) => dialer.unary(RegistryServiceService.rotateRelayCa, request, call()))).ca;
  }

  async revoke(cluster: string): Promise<boolean> {
    const answer = await this.#admin((dialer) =>
      dialer.unary(RegistryServiceService.revokeCluster, { cluster }, call()),
    );
    return answer.sessionClosed;
  }

  async session(cluster: string): Promise<ClusterSession | undefined> {
    const { sessions } = await this.#admin((dialer) =>
      dialer.unary(AdminServiceService.listSessions, ListSessionsRequest.create(), call()),
    );
    return sessions.find((each) => each.cluster === cluster);
  }

  /** Waits until it tells this of the cluster's session. */
  until(what: string, cluster: string, accept: (session: ClusterSession) => boolean): Promise<ClusterSession> {
    return eventually(`${this.name} tells that ${cluster} ${what}`, async () => {
      const session = await this.session(cluster);
      return session && accept(session) ? session : undefined;
    });
  }

  /** Trades a token for an identity, as an agent does. */
  async enroll({ token, trustBundle }: Pick<RegisterClusterResponse, "token" | "trustBundle">): Promise<Agent> {
    const keyPem = privateKeyToPem(await generateKey({ type: "ec", curve: "P-256" }));
    const tls = { rootsPem: trustBundle, minVersion: "TLSv1.3" } as const;
    const dialer = new Dialer({ address: this.addresses.enrollment, tls, peer: this.name });
    try {
      const certificateSigningRequest = await createCsr({ key: loadPrivateKey(keyPem) });
      const request = { token, certificateSigningRequest, agentVersion: "test" };
      const { certificateChain } = await dialer.unary(EnrollmentServiceService.enroll, request, call());
      return new Agent({ keyPem, certificatePem: certificateChain }, trustBundle);
    } finally {
      dialer.close();
    }
  }

  async readyz(): Promise<string> {
    return (await fetch(`http://${this.addresses.monitor}/readyz`)).text();
  }

  async #admin<T>(ask: (dialer: Dialer) => Promise<T>): Promise<T> {
    const dialer = new Dialer({ address: `unix:${this.addresses.socket}`, peer: this.name });
    try {
      return await ask(dialer);
    } finally {
      dialer.close();
    }
  }
}

/** An agent without a cluster: it has an identity and holds sessions open. */
export class Agent {
  readonly identity: KeyAndChain;
  readonly #rootsPem: string;

  constructor(identity: KeyAndChain, rootsPem: string) {
    this.identity = identity;
    this.#rootsPem = rootsPem;
  }

  /** The same cluster with a new certificate, and with the roots that come with it. */
  async renewed({ name, addresses }: Replica): Promise<Agent> {
    const tls = { rootsPem: this.#rootsPem, identity: this.identity, minVersion: "TLSv1.3" } as const;
    const dialer = new Dialer({ address: addresses.relay, tls, peer: name });
    try {
      const key = await generateKey({ type: "ec", curve: "P-256" });
      const request = { certificateSigningRequest: await createCsr({ key }) };
      const answer = await dialer.unary(RelayServiceService.renewCertificate, request, call());
      const identity = { keyPem: privateKeyToPem(key), certificatePem: answer.certificateChain };
      return new Agent(identity, answer.trustBundle);
    } finally {
      dialer.close();
    }
  }

  /** Resolves when it is welcomed; rejects with what the server says instead. */
  async connect({ name, addresses }: Replica, instanceId = ""): Promise<AgentSession> {
    const tls = { rootsPem: this.#rootsPem, identity: this.identity, minVersion: "TLSv1.3" } as const;
    const dialer = new Dialer({ address: addresses.relay, tls, peer: name });
    const stop = new AbortController();
    const stream = dialer.bidi(RelayServiceService.connect, stop.signal);
    stream.write({
      message: { $case: "hello", value: { agentVersion: "test", instanceId, capabilities: [], held: [] } },
    });
    const messages = stream.messages();
    try {
      const first = (await messages.next()).value?.message;
      if (first?.$case !== "welcome") throw new MeshError("internal", `${name} did not welcome the agent`);
      return new AgentSession(first.value, drain(messages), () => {
        stop.abort();
        dialer.close();
      });
    } catch (error) {
      dialer.close();
      throw error;
    }
  }
}

/** Reads to the end; resolves to what ended it, undefined for an orderly end. */
async function drain(messages: AsyncIterable<unknown>): Promise<MeshError | undefined> {
  try {
    for await (const _ of messages);
    return undefined;
  } catch (thrown) {
    return MeshError.from(thrown);
  }
}

/** An open session. */
export class AgentSession {
  readonly epoch: bigint;
  /** What the server ended it with. */
  readonly ended: Promise<MeshError | undefined>;
  readonly close: () => void;

  constructor({ epoch }: Welcome, ended: Promise<MeshError | undefined>, close: () => void) {
    this.epoch = epoch;
    this.ended = ended;
    this.close = close;
  }
}
