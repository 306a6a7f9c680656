import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import {
  AdminServiceService,
  RegistryServiceService,
  type ClusterCertificate,
  type WatchStatusResponse,
} from "../../proto/gen/admin/v1/admin.ts";
import type { ListReplicasResponse } from "../../proto/gen/istiod/v1/istiod.ts";
import { IstiodServiceService } from "../../proto/gen/istiod/v1/istiod.ts";
import { CertificateState } from "../../proto/gen/certificates/v1/certificates.ts";
import { Dialer } from "../../common/session/client.ts";
import { applyVaultSetup, createVaultRoot, type VaultRoot } from "../../demo/vault-setup.ts";
import { startApiServer, type ApiServer, type PodRef } from "../harness/api-server.ts";
import { temporaryFolder, type TemporaryFolder } from "../harness/folder.ts";
import { createCertificate, startIstiod, type Istiod } from "../harness/istiod.ts";
import { opensslRequest } from "../harness/openssl.ts";
import { freePort } from "../harness/ports.ts";
import { startProcess, type RunningProcess } from "../harness/process.ts";
import { startVault, type RealVault } from "../harness/vault.ts";
import { readTexts, type Secrets, type Texts } from "../harness/secrets.ts";
import { eventually } from "../harness/wait.ts";
import { istiodDeployment } from "./istiod-deployment.ts";

const REPOSITORY = join(import.meta.dirname, "../..");
const EXAMPLES = join(REPOSITORY, "examples");
const ACCOUNT = { namespace: "istio-system", serviceAccount: "istiod-service-account" };
/** Tokens of istiod's pod: for Vault, for the agent, for istiod itself. */
const TOKEN_FILES = ["token", "enterprise-agent-token", "istio-ca-token"] as const;
const FILES = ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"] as const;

export interface RealMeshOptions {
  /** Gives each cluster's Vault the root it has; without it all have one. */
  readonly rootOf?: (cluster: string, shared: VaultRoot) => Promise<VaultRoot>;
}

/**
 * The main job on real parts, as plain processes: our programs from their sources, and per cluster a real API server, a
 * real Vault and, once its init container has left, a real istiod. Only tokens are carried by hand, as kubelet would.
 */
export class RealMesh implements AsyncDisposable {
  readonly clusters: readonly RealCluster[];
  readonly root: VaultRoot;
  readonly #server: ManagementServer;
  readonly #stack: AsyncDisposableStack;

  private constructor(parts: {
    clusters: RealCluster[];
    root: VaultRoot;
    server: ManagementServer;
    stack: AsyncDisposableStack;
  }) {
    this.clusters = parts.clusters;
    this.root = parts.root;
    this.#server = parts.server;
    this.#stack = parts.stack;
  }

  /** Two clusters, registered and enrolled, with init containers that wait: there is no VirtualMesh yet. */
  static async start({ rootOf = async (_, shared) => shared }: RealMeshOptions = {}): Promise<RealMesh> {
    await using stack = new AsyncDisposableStack();
    const root = await createVaultRoot("my-org", { type: "rsa", bits: 2048 }, Date.now());
    const server = stack.use(await ManagementServer.start());
    const start = async (name: string): Promise<RealCluster> =>
      RealCluster.start({ name, root: await rootOf(name, root), server });
    const clusters = await Promise.all(["cluster-1", "cluster-2"].map(start));
    for (const cluster of clusters) stack.use(cluster);
    return new RealMesh({ clusters, root, server, stack: stack.move() });
  }

  /** Puts the guide's VirtualMesh in force, changed by `edit`. */
  async applyVirtualMesh(edit: (yaml: string) => string = (yaml) => yaml): Promise<void> {
    const text = await readFile(join(EXAMPLES, "virtual-mesh.yaml"), "utf8");
    await writeFile(this.#server.folder.file("source", "virtual-mesh.yaml"), edit(text));
  }

  /** Logs and state of the management server, by path. */
  async serverTexts(): Promise<Texts> {
    return readTexts(this.#server.folder.path);
  }

  /** Waits for a status that `accept` takes; its clusters are in order of name. */
  async status(what: string, accept: (status: WatchStatusResponse) => boolean): Promise<WatchStatusResponse> {
    return this.#server.status(what, accept);
  }

  /** Waits until istiod of every cluster was seen to sign, and returns what each holds. */
  async untilProved(
    what: string,
    accept: (cluster: ClusterCertificate) => boolean = () => true,
  ): Promise<WatchStatusResponse> {
    return this.status(what, ({ virtualMeshes }) => {
      const clusters = virtualMeshes[0]?.clusters ?? [];
      return clusters.length === this.clusters.length && clusters.every((each) => isFinished(each) && accept(each));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function isFinished({ certificate }: ClusterCertificate): boolean {
  return certificate?.state === CertificateState.CERTIFICATE_STATE_FINISHED;
}

/** enterprise-networking in standalone mode. */
class ManagementServer implements AsyncDisposable {
  readonly folder: TemporaryFolder;
  readonly relayAddress: string;
  readonly enrollmentAddress: string;
  readonly #dialer: Dialer;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    folder: TemporaryFolder,
    addresses: readonly [string, string],
    dialer: Dialer,
    stack: AsyncDisposableStack,
  ) {
    this.folder = folder;
    [this.relayAddress, this.enrollmentAddress] = addresses;
    this.#dialer = dialer;
    this.#stack = stack;
  }

  static async start(): Promise<ManagementServer> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await temporaryFolder());
    await mkdir(folder.file("source"));
    const inputs = ["mesh-cluster-1", "mesh-cluster-2", "kubernetes-cluster-1", "kubernetes-cluster-2"];
    for (const name of inputs) await cp(join(EXAMPLES, `${name}.yaml`), folder.file("source", `${name}.yaml`));
    const [relay, enrollment, admin, monitor] = [await local(), await local(), await local(), await local()];
    stack.use(
      await startProgram("server/main.ts", {
        name: "enterprise-networking",
        folder,
        monitor,
        args: [
          ...["--source-dir", folder.file("source"), "--source-poll-interval", "100ms"],
          ...["--state-dir", folder.file("state"), "--relay-listen", relay, "--enrollment-listen", enrollment],
          ...["--admin-listen", admin, "--monitor-listen", monitor],
        ],
      }),
    );
    const address = `unix:${folder.file("state", "admin.sock")}`;
    const dialer = new Dialer({ address, peer: "admin socket" });
    stack.defer(() => dialer.close());
    return new ManagementServer(folder, [relay, enrollment], dialer, stack.move());
  }

  /** Registers a cluster; returns the token and the pin that its agent needs. */
  async register(cluster: string): Promise<{ token: string; trustPin: string }> {
    const request = { cluster, tokenTtlSeconds: 0, renewToken: false };
    return this.#dialer.unary(RegistryServiceService.registerCluster, request, { signal: never(), timeoutMs: 10_000 });
  }

  async status(what: string, accept: (status: WatchStatusResponse) => boolean): Promise<WatchStatusResponse> {
    const signal = AbortSignal.timeout(120_000);
    let last: WatchStatusResponse | undefined;
    try {
      for await (const status of this.#dialer.serverStream(
        AdminServiceService.watchStatus,
        { virtualMesh: undefined, cluster: "", inParts: false },
        signal,
      )) {
        last = status;
        if (accept(status)) return status;
      }
    } catch (cause) {
      throw new Error(`${what}: not reached; last status: ${JSON.stringify(last, printable, 1)}`, { cause });
    }
    throw new Error(`${what}: the server ended the stream`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

interface RealClusterPlan {
  readonly name: string;
  readonly root: VaultRoot;
  readonly server: ManagementServer;
}

/** What a workload has from istiod. */
export interface Workload {
  /** PEM, leaf first, root last. */
  readonly chain: readonly string[];
  readonly key: string;
}

/** One cluster: API server, Vault, agent, one istiod pod. */
export class RealCluster implements AsyncDisposable {
  readonly name: string;
  readonly api: ApiServer;
  readonly vault: RealVault;
  readonly folder: TemporaryFolder;
  /** The init container: it waits until there is an order. */
  readonly init: RunningProcess;
  readonly agentDebugAddress: string;
  readonly #agentAddress: string;
  readonly #stack: AsyncDisposableStack;
  istiod: Istiod | undefined;

  private constructor(
    parts: Pick<RealCluster, "name" | "api" | "vault" | "folder" | "init" | "agentDebugAddress"> & {
      agentAddress: string;
      stack: AsyncDisposableStack;
    },
  ) {
    this.name = parts.name;
    this.api = parts.api;
    this.vault = parts.vault;
    this.folder = parts.folder;
    this.init = parts.init;
    this.agentDebugAddress = parts.agentDebugAddress;
    this.#agentAddress = parts.agentAddress;
    this.#stack = parts.stack;
  }

  static async start({ name, root, server }: RealClusterPlan): Promise<RealCluster> {
    await using stack = new AsyncDisposableStack();
    const [api, vault] = await Promise.all([startApiServer(), startVault()]);
    stack.use(api);
    stack.use(vault);
    const folder = stack.use(await temporaryFolder());
    await setUpVault(vault, api, root);
    await writePodTokens(api, folder);
    const agentAddress = await local();
    const agentDebugAddress = await local();
    stack.use(await startAgent({ name, server, api, folder, agentAddress, agentDebugAddress }));
    const init = stack.use(await startIstiodAgent("init-container", { vault, folder, agentAddress }));
    return new RealCluster({ name, api, vault, folder, init, agentDebugAddress, agentAddress, stack: stack.move() });
  }

  get cacertsDirectory(): string {
    return this.folder.file("cacerts");
  }

  /** What istiod reads, by file name; absent files are left out. */
  async cacerts(): Promise<Partial<Record<(typeof FILES)[number], string>>> {
    const entries = await Promise.all(
      FILES.map(
        async (name) =>
          [name, await readFile(join(this.cacertsDirectory, name), "utf8").catch(() => undefined)] as const,
      ),
    );
    return Object.fromEntries(entries.filter(([, text]) => text !== undefined));
  }

  /** The key that istiod signs with now, and the tokens of its pod. */
  async secrets(): Promise<Secrets> {
    const files = [
      ...TOKEN_FILES.map((name) => this.folder.file("account", name)),
      join(this.cacertsDirectory, "ca-key.pem"),
    ];
    return Object.fromEntries(
      await Promise.all(
        files.map(async (file): Promise<[string, string]> => [basename(file), await readFile(file, "utf8")]),
      ),
    );
  }

  /** Where secrets could leak to: logs and state of our programs, and what the cluster stores. */
  async places(): Promise<Texts> {
    const stored = await this.api.kubectl(["get", "secrets,configmaps,events", "-A", "-o", "json"]);
    const files = await readTexts(this.folder.path, [this.cacertsDirectory, this.folder.file("account")]);
    return { ...files, "secrets, config maps and events": stored };
  }

  /** Waits until the agent knows the pod's init container. */
  async untilLinked(): Promise<void> {
    const dialer = new Dialer({ address: this.agentDebugAddress, peer: "agent" });
    try {
      await eventually(`istiod-agent of ${this.name} linked`, async () => {
        const answer: ListReplicasResponse = await dialer.unary(
          IstiodServiceService.listReplicas,
          {},
          { signal: never(), timeoutMs: 2_000 },
        );
        return answer.certificates.some(({ replicas }) => replicas.some(({ connected }) => connected));
      });
    } finally {
      dialer.close();
    }
  }

  /** Goes on as kubelet does: istiod starts once the init container has left with 0, the sidecar beside it. */
  async startPod(): Promise<Istiod> {
    const { code } = await this.init.exited;
    if (code !== 0) throw new Error(`init-container of ${this.name} left with ${code}: ${await this.init.log()}`);
    const istiod = this.#stack.use(
      await startIstiod({ apiServer: this.api, cacertsDirectory: this.cacertsDirectory, clusterId: this.name }),
    );
    this.istiod = istiod;
    const { vault, folder } = this;
    const pod = { vault, folder, agentAddress: this.#agentAddress, istiodAddress: istiod.secureGrpcAddress };
    this.#stack.use(await startIstiodAgent("sidecar", pod));
    return istiod;
  }

  /** What istiod hands to a workload: PEM, leaf first, root last. */
  async workloadChain(workload: string): Promise<Workload> {
    if (!this.istiod) throw new Error(`istiod of ${this.name} was not started`);
    await this.api.createServiceAccount("bookinfo", workload);
    const token = await this.api.createToken({ namespace: "bookinfo", serviceAccount: workload, audience: "istio-ca" });
    const { csr, key } = await opensslRequest(workload);
    return { chain: await createCertificate({ istiod: this.istiod, csrPem: csr, token }), key };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function setUpVault(vault: RealVault, api: ApiServer, root: VaultRoot): Promise<void> {
  await applyVaultSetup(
    { address: vault.address, token: vault.rootToken },
    {
      rootBundlePem: root.bundlePem,
      kubernetes: {
        host: api.url,
        caCertPem: await readFile(api.caFile, "utf8"),
        reviewerJwt: await api.createTokenReviewer("vault", "vault"),
      },
      serviceAccountNames: ["istiod", ACCOUNT.serviceAccount],
    },
  );
}

/** The projected tokens of istiod's pod, which is a real, Pending, pod of a real Deployment. */
async function writePodTokens(api: ApiServer, folder: TemporaryFolder): Promise<void> {
  await api.createServiceAccount(ACCOUNT.namespace, ACCOUNT.serviceAccount);
  await api.apply(istiodDeployment(ACCOUNT));
  const pod: PodRef = await api.podWith(ACCOUNT.namespace, "app=istiod");
  await mkdir(folder.file("account"), { mode: 0o700 });
  await mkdir(folder.file("cacerts"), { mode: 0o700 });
  await writeFile(folder.file("pod-name"), pod.name);
  const audiences = [undefined, "enterprise-agent", "istio-ca"];
  for (const [index, file] of TOKEN_FILES.entries()) {
    const audience = audiences[index];
    const token = await api.createToken({ ...ACCOUNT, pod, ...(audience === undefined ? {} : { audience }) });
    await writeFile(folder.file("account", file), token, { mode: 0o600 });
  }
  await writeFile(folder.file("jwks.json"), JSON.stringify(await api.jwks()));
}

interface AgentPlan {
  readonly name: string;
  readonly server: ManagementServer;
  readonly api: ApiServer;
  readonly folder: TemporaryFolder;
  readonly agentAddress: string;
  readonly agentDebugAddress: string;
}

async function startAgent(plan: AgentPlan): Promise<RunningProcess> {
  const { name, server, api, folder } = plan;
  const { token, trustPin } = await server.register(name);
  await writeFile(folder.file("join-token"), token, { mode: 0o600 });
  const monitor = await local();
  return startProgram("agent/main.ts", {
    name: `enterprise-agent of ${name}`,
    folder,
    monitor,
    args: [
      ...["--relay-cluster", name, "--relay-server-address", server.relayAddress],
      ...["--relay-enrollment-address", server.enrollmentAddress, "--relay-token-file", folder.file("join-token")],
      ...["--relay-trust-pin", trustPin, "--state-dir", folder.file("agent-state")],
      ...["--istiod-listen", plan.agentAddress, "--istiod-ca-file", folder.file("agent-ca.pem")],
      ...["--istiod-jwks-file", folder.file("jwks.json"), "--istiod-token-issuer", api.issuer],
      ...["--debug-listen", plan.agentDebugAddress, "--monitor-listen", monitor],
    ],
  });
}

interface PodPlan {
  readonly vault: RealVault;
  readonly folder: TemporaryFolder;
  readonly agentAddress: string;
  readonly istiodAddress?: string;
}

async function startIstiodAgent(mode: "init-container" | "sidecar", pod: PodPlan): Promise<RunningProcess> {
  const { vault, folder, agentAddress, istiodAddress } = pod;
  const monitor = await local();
  const vaultUrl = new URL(vault.address);
  return startProgram("istiod-agent/main.ts", {
    name: `istiod-agent ${mode}`,
    folder,
    ...(mode === "sidecar" ? { monitor } : {}),
    env: {
      POD_NAME: await readFile(folder.file("pod-name"), "utf8"),
      POD_NAMESPACE: ACCOUNT.namespace,
      SERVICE_ACCOUNT: ACCOUNT.serviceAccount,
      PILOT_CERT_PROVIDER: "istiod",
    },
    args: [
      mode,
      ...["--cacerts-dir", folder.file("cacerts"), "--service-account-dir", folder.file("account")],
      ...["--agent-address", agentAddress, "--agent-ca-file", folder.file("agent-ca.pem")],
      ...["--resolve", `vault.vault:8200:${vaultUrl.hostname}:${vaultUrl.port}`],
      ...(istiodAddress === undefined ? [] : ["--istiod-address", istiodAddress]),
      ...(mode === "sidecar" ? ["--monitor-listen", monitor] : []),
    ],
  });
}

interface ProgramPlan {
  readonly name: string;
  readonly folder: TemporaryFolder;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Its /readyz is waited for; without it the program counts as ready at once. */
  readonly monitor?: string;
}

function startProgram(main: string, { name, folder, args, env, monitor }: ProgramPlan): Promise<RunningProcess> {
  return startProcess({
    name,
    command: process.execPath,
    args: [join(REPOSITORY, main), ...args, "--log-level", "debug"],
    logFile: folder.file(`${name.replaceAll(" ", "-")}.log`),
    ...(env ? { env } : {}),
    ...(monitor ? { ready: async () => (await fetch(`http://${monitor}/readyz`)).ok } : {}),
  });
}

const local = async (): Promise<string> => `127.0.0.1:${await freePort()}`;

const never = (): AbortSignal => new AbortController().signal;

const printable = (_: string, value: unknown): unknown => (typeof value === "bigint" ? String(value) : value);
