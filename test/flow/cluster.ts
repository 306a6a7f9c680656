import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { runAgent } from "../../agent/agent.ts";
import { agentOptions } from "../../agent/config.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { Dialer } from "../../common/session/client.ts";
import { PodTokens } from "../../demo/pod-tokens.ts";
import { startTokenReview, type TokenReviewServer } from "../../demo/token-review.ts";
import { applyVaultSetup, callVault, type VaultRoot } from "../../demo/vault-setup.ts";
import { startDevVault } from "../../dev-vault/server.ts";
import { istiodAgentOptions } from "../../istiod-agent/config.ts";
import { readCaFiles, type CaFiles, type SigningCa } from "../../istiod-agent/issue/signing-ca.ts";
import { runInitContainer, runSidecar } from "../../istiod-agent/modes.ts";
import type { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { IstiodServiceService } from "../../proto/gen/istiod/v1/istiod.ts";
import { FakeServiceAccounts } from "../fakes/service-accounts.ts";
import { freePort } from "../harness/ports.ts";
import { eventually } from "../harness/wait.ts";
import type { FlowMesh } from "./mesh.ts";
import { programSpec, type Flags, type ProgramSpec, type Running } from "./program.ts";

const CA_FILES = ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"] as const;

export const EC_KEY = { type: "ec", curve: "P-256" } as const;

export const local = async (): Promise<string> => `127.0.0.1:${await freePort()}`;

/** One cluster of a FlowMesh: API server's part in tokens, Vault, agent, one istiod pod. */
export class FlowCluster implements AsyncDisposable {
  readonly name: string;
  readonly mesh: FlowMesh;
  readonly accounts: FakeServiceAccounts;
  readonly agentAddress: string;
  /** The single-use token that the agent enrolled with. */
  readonly joinToken: string;
  readonly vaultPort: number;
  readonly #review: TokenReviewServer;
  readonly #agentFlags: Flags;
  readonly #pods: FlowPod[] = [];
  #agent: Running | undefined;
  #vault: { close(): Promise<void> } | undefined;
  #vaultToken = "";

  private constructor(
    mesh: FlowMesh,
    name: string,
    parts: {
      accounts: FakeServiceAccounts;
      review: TokenReviewServer;
      agentFlags: Flags;
      joinToken: string;
      vaultPort: number;
    },
  ) {
    this.mesh = mesh;
    this.name = name;
    this.accounts = parts.accounts;
    this.joinToken = parts.joinToken;
    this.vaultPort = parts.vaultPort;
    this.agentAddress = String(parts.agentFlags["istiodListen"]);
    this.#review = parts.review;
    this.#agentFlags = parts.agentFlags;
  }

  /** With a Vault of that root, an agent that is enrolled, and a pod that is not started. */
  static async start(mesh: FlowMesh, name: string, root: VaultRoot): Promise<FlowCluster> {
    const { folder, serverFlags } = mesh;
    await mkdir(folder.file(name));
    const accounts = await FakeServiceAccounts.create();
    await writeFileAtomic(folder.file(name, "jwks.json"), JSON.stringify(await accounts.jwks()));
    const { token, trustPin } = await mesh.register(name);
    await writeFileAtomic(folder.file(name, "join-token"), token);
    const agentFlags = {
      ...{ cluster: name, trustPin, tokenFile: folder.file(name, "join-token") },
      ...{ serverAddress: serverFlags["relayListen"] ?? "", enrollmentAddress: serverFlags["enrollmentListen"] ?? "" },
      ...{ stateDir: folder.file(name, "agent"), istiodCaFile: folder.file(name, "agent-ca.pem") },
      ...{ tokenJwksFile: folder.file(name, "jwks.json"), tokenIssuer: accounts.issuer },
      ...{ istiodListen: await local(), debugListen: await local(), monitorListen: await local() },
    };
    const review = await startTokenReview({ accounts, listen: { host: "127.0.0.1", port: 0 }, names: [] });
    const cluster = new FlowCluster(mesh, name, {
      accounts,
      review,
      agentFlags,
      joinToken: token,
      vaultPort: await freePort(),
    });
    cluster.#pods.push(await FlowPod.create(cluster, "istiod-7d9f-abcde"));
    await cluster.startVault(root);
    await cluster.startAgent();
    await eventually(`${name} enrolled`, () => mesh.isInSync(name));
    return cluster;
  }

  /** The pod that is there from the start. */
  get pod(): FlowPod {
    const [pod] = this.#pods;
    if (!pod) throw new Error(`cluster ${this.name} has no pod`);
    return pod;
  }

  get agent(): Running {
    if (!this.#agent) throw new Error(`the agent of ${this.name} was not started`);
    return this.#agent;
  }

  /** Another pod of istiod, which is not started. */
  async addPod(name: string): Promise<FlowPod> {
    const pod = await FlowPod.create(this, name);
    this.#pods.push(pod);
    return pod;
  }

  /** The agent as a program, with other settings where `flags` has them. */
  agentProgram(flags: Flags = {}): ProgramSpec {
    const program = { name: "enterprise-agent", main: ["agent/main.ts"], run: runAgent } as const;
    return programSpec({ ...program, options: agentOptions, flags: { ...this.#agentFlags, ...flags } });
  }

  async startAgent(): Promise<void> {
    this.#agent = await this.mesh.launch(this.agentProgram(), this.mesh.folder.file(this.name, "agent.log"));
  }

  /** Waits for a certificate that `accept` takes, among those that the agent holds. */
  async untilListed(
    what: string,
    accept: (certificate: IssuedCertificateStatus) => boolean,
  ): Promise<IssuedCertificateStatus> {
    const address = String(this.#agentFlags["debugListen"]);
    const dialer = new Dialer({ address, peer: `agent of ${this.name}` });
    try {
      return await eventually(what, async () => {
        const call = { signal: new AbortController().signal, timeoutMs: 5_000 };
        const { certificates } = await dialer.unary(IstiodServiceService.listReplicas, {}, call);
        return certificates.find(accept);
      });
    } finally {
      dialer.close();
    }
  }

  /** Starts a new Vault, set up as in the guide, at the one address that pods of this cluster look for it. */
  async startVault(root: VaultRoot = this.mesh.root): Promise<void> {
    this.#vaultToken = randomBytes(24).toString("base64url");
    const listen = { host: "127.0.0.1", port: this.vaultPort };
    const vault = await startDevVault({ rootToken: this.#vaultToken, listen });
    this.#vault = vault;
    const { caPem: caCertPem, reviewerToken: reviewerJwt, address } = this.#review;
    const access = { address: vault.address, token: this.#vaultToken };
    const setup = {
      rootBundlePem: root.bundlePem,
      kubernetes: { host: `https://127.0.0.1:${address.port}`, caCertPem, reviewerJwt },
      serviceAccountNames: ["istiod-service-account"],
    };
    // The first call may meet a connection that the Vault before it has cut.
    await eventually(`vault of ${this.name} set up`, async () => {
      await applyVaultSetup(access, setup);
      return true;
    });
  }

  /** Starts something at Vault's address that is no Vault. */
  async startImpostor(): Promise<void> {
    const server = createServer((_, response) => response.end("<html>welcome</html>"));
    server.listen(this.vaultPort, "127.0.0.1");
    await once(server, "listening");
    const close = async (): Promise<void> => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    };
    this.#vault = { close };
  }

  async stopVault(): Promise<void> {
    await this.#vault?.close();
    this.#vault = undefined;
  }

  /** One call of Vault's API with root's power. */
  async callVault(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: object): Promise<void> {
    await callVault({ address: `http://127.0.0.1:${this.vaultPort}`, token: this.#vaultToken }, method, path, body);
  }

  async sealVault(): Promise<void> {
    await this.callVault("PUT", "sys/seal");
  }

  async unsealVault(): Promise<void> {
    await this.callVault("PUT", "sys/unseal", { key: this.#vaultToken });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#pods.map((pod) => pod[Symbol.asyncDispose]()));
    await this.#agent?.stop();
    await this.stopVault();
    await this.#review[Symbol.asyncDispose]();
  }
}

/** One pod of istiod: its tokens, its directory, its init container and its sidecar. */
export class FlowPod implements AsyncDisposable {
  readonly name: string;
  readonly cluster: FlowCluster;
  readonly directory: string;
  readonly #flags: Flags;
  readonly #running: Running[] = [];

  private constructor(cluster: FlowCluster, name: string, monitorListen: string) {
    const { folder } = cluster.mesh;
    this.name = name;
    this.cluster = cluster;
    this.directory = folder.file(cluster.name, name, "cacerts");
    this.#flags = {
      ...{ podName: name, serviceAccount: "istiod-service-account", cacertsDir: this.directory },
      serviceAccountDir: folder.file(cluster.name, name, "account"),
      ...{ agentAddress: cluster.agentAddress, agentCaFile: folder.file(cluster.name, "agent-ca.pem") },
      // Nothing listens there: a missing istiod is a reported state, not a failure.
      ...{ monitorListen, istiodAddress: "127.0.0.1:1" },
      resolve: [`vault.vault:8200:127.0.0.1:${cluster.vaultPort}`],
    };
  }

  static async create(cluster: FlowCluster, name: string): Promise<FlowPod> {
    const pod = new FlowPod(cluster, name, await local());
    await mkdir(pod.directory, { recursive: true, mode: 0o700 });
    const account = join(pod.directory, "../account");
    await mkdir(account, { mode: 0o700 });
    const sources = { accounts: cluster.accounts, clock: systemClock };
    await new PodTokens(account, { name, uid: randomUUID() }, sources).write();
    return pod;
  }

  program(mode: "init-container" | "sidecar", flags: Flags = {}): ProgramSpec {
    const run = mode === "sidecar" ? runSidecar : runInitContainer;
    const program = { name: `istiod-agent ${mode}`, main: ["istiod-agent/main.ts", mode], run } as const;
    return programSpec({ ...program, options: istiodAgentOptions, flags: { ...this.#flags, ...flags } });
  }

  /** The init container, and once it has left with 0, the sidecar: as a kubelet does it. */
  async start(): Promise<Running> {
    const init = await this.startInit();
    const code = await init.exited;
    if (code !== 0) throw new Error(`init-container left with ${code}: ${JSON.stringify((await init.lines()).at(-1))}`);
    return this.startSidecar();
  }

  async startInit(flags?: Flags): Promise<Running> {
    return this.#start("init-container", flags);
  }

  async startSidecar(flags?: Flags): Promise<Running> {
    return this.#start("sidecar", flags);
  }

  async #start(mode: "init-container" | "sidecar", flags?: Flags): Promise<Running> {
    const { mesh, name } = this.cluster;
    const running = await mesh.launch(this.program(mode, flags), mesh.folder.file(name, this.name, `${mode}.log`));
    this.#running.push(running);
    return running;
  }

  /** Ends whatever of the pod runs. */
  async stop(): Promise<void> {
    await Promise.all(this.#running.splice(0).map((each) => each.stop()));
  }

  /** Bytes of the files that istiod reads, by name; absent ones are left out. */
  async files(): Promise<Partial<CaFiles>> {
    const read = async (name: keyof CaFiles): Promise<readonly [string, string] | undefined> =>
      readFile(join(this.directory, name), "utf8").then(
        (text) => [name, text],
        () => undefined,
      );
    const found = (await Promise.all(CA_FILES.map(read))).filter((entry) => entry !== undefined);
    return Object.fromEntries(found);
  }

  /** The CA in the directory, proved whole: a set of which some files are older than others throws. */
  async ca(): Promise<SigningCa> {
    return readCaFiles((await this.files()) as CaFiles, Date.now());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
