import { randomBytes, randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { admitAccounts } from "../../agent/certs/admission.ts";
import { runIstiodServer } from "../../agent/certs/istiod-server.ts";
import { JwtTokenReviewer } from "../../agent/certs/jwt-token-reviewer.ts";
import { LinkBook } from "../../agent/certs/links.ts";
import type { HeldCertificate } from "../../agent/certs/orders.ts";
import type { TokenReviewer } from "../../agent/certs/token-reviewer.ts";
import { readConfig } from "../../common/runtime/config.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { startTokenReview } from "../../demo/token-review.ts";
import { applyVaultSetup, createVaultRoot, type VaultAccess, type VaultRoot } from "../../demo/vault-setup.ts";
import { startDevVault, type DevVault } from "../../dev-vault/server.ts";
import { istiodAgentOptions, type IstiodAgentConfig } from "../../istiod-agent/config.ts";
import { IssuedCertificate } from "../../proto/gen/certificates/v1/certificates.ts";
import { FakeServiceAccounts, type FakeTokenRequest } from "../fakes/service-accounts.ts";
import { temporaryFolder, type TemporaryFolder } from "./folder.ts";

/** Vault's address in the orders; istiod-agents reach it by `--resolve`. */
export const VAULT_URL = "http://vault.vault:8200";

export const EC_KEY = { type: "ec", curve: "P-256" } as const;

/** An agent's 9977 that was started, until it is stopped. */
export interface RunningAgent {
  readonly address: string;
  readonly book: LinkBook;
  stop(): Promise<void>;
}

/** A pod of istiod: its directories, and how its istiod-agent is configured. */
export interface IstiodPod {
  readonly uid: string;
  readonly cacertsDir: string;
  readonly tokenFile: string;
  readonly config: IstiodAgentConfig;
}

/** One cluster without istiod: an agent's 9977, a Vault set up as in the guide, and accounts that sign tokens. */
export class IstiodLinkWorld implements AsyncDisposable {
  readonly folder: TemporaryFolder;
  readonly accounts: FakeServiceAccounts;
  readonly root: VaultRoot;
  /** What the relay would hold. */
  readonly held = new Latest<readonly HeldCertificate[]>([]);
  readonly agentCaFile: string;
  readonly #resources: AsyncDisposableStack;
  #vault: VaultAccess | undefined;

  private constructor(parts: Pick<IstiodLinkWorld, "folder" | "accounts" | "root">, resources: AsyncDisposableStack) {
    this.folder = parts.folder;
    this.accounts = parts.accounts;
    this.root = parts.root;
    this.agentCaFile = parts.folder.file("agent-ca.pem");
    this.#resources = resources;
  }

  static async start(): Promise<IstiodLinkWorld> {
    await using resources = new AsyncDisposableStack();
    const folder = resources.use(await temporaryFolder());
    const accounts = await FakeServiceAccounts.create();
    const root = await createVaultRoot("my-org", EC_KEY, Date.now());
    const world = new IstiodLinkWorld({ folder, accounts, root }, resources.move());
    await world.trustTokensOf(accounts);
    return world;
  }

  /** Starts a Vault with this root, or another one. */
  async startVault(root: VaultRoot = this.root): Promise<DevVault> {
    const rootToken = randomBytes(24).toString("base64url");
    const listen = { host: "127.0.0.1", port: 0 };
    const reviewer = this.#resources.use(await startTokenReview({ accounts: this.accounts, listen, names: [] }));
    const vault = this.#resources.use(await startDevVault({ rootToken }));
    const { caPem: caCertPem, reviewerToken: reviewerJwt, address } = reviewer;
    const kubernetes = { host: `https://127.0.0.1:${address.port}`, caCertPem, reviewerJwt };
    const serviceAccountNames = ["istiod-service-account"];
    this.#vault = { address: vault.address, token: rootToken };
    await applyVaultSetup(this.#vault, { rootBundlePem: root.bundlePem, kubernetes, serviceAccountNames });
    return vault;
  }

  /** The Vault that was started last, with root's power. */
  get vault(): VaultAccess {
    if (!this.#vault) throw new Error("no vault was started");
    return this.#vault;
  }

  /** Has agents believe the tokens of these accounts, and of no others. */
  async trustTokensOf(accounts: FakeServiceAccounts): Promise<void> {
    await writeFileAtomic(this.folder.file("jwks.json"), JSON.stringify(await accounts.jwks()));
  }

  /** Believes the tokens of `accounts`, or those that another reviewer accepts. */
  async startAgent(listen = "127.0.0.1:0", reviewer: TokenReviewer = this.#ownReviewer()): Promise<RunningAgent> {
    const controller = new AbortController();
    const context = { cluster: "cluster-1", vault: {} };
    const book = new LinkBook({ held: this.held, context, forgetAfterMs: 60_000, clock: systemClock });
    const options = {
      listen,
      book,
      list: () => book.list(),
      claim: () => Promise.resolve(),
      reviewer,
      admission: admitAccounts(["istio-system/istiod-service-account"]),
      serving: {
        publish: (caPem: string) => writeFileAtomic(this.agentCaFile, caPem, 0o644),
        namespace: "gloo-mesh",
      },
      clock: systemClock,
      log: silentLog,
    };
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const running = runIstiodServer(options, controller.signal, resolve);
    running.catch(reject);
    const stop = async (): Promise<void> => {
      controller.abort();
      await running;
    };
    const address = await promise;
    this.#resources.defer(stop);
    return { address, book, stop };
  }

  #ownReviewer(): TokenReviewer {
    const jwksFile = this.folder.file("jwks.json");
    return new JwtTokenReviewer({ jwksFile, issuer: this.accounts.issuer, clock: systemClock });
  }

  /** Makes a pod with fresh tokens, whose istiod-agent dials `agent` and finds Vault at `vault`. */
  async createPod(agent: string, vault: string, name = "istiod-7d9f-abcde"): Promise<IstiodPod> {
    const uid = randomUUID();
    const home = this.folder.file(uid);
    const cacertsDir = `${home}/cacerts`;
    await mkdir(cacertsDir, { recursive: true, mode: 0o700 });
    const tokenFile = `${home}/tokens/enterprise-agent-token`;
    const token = { podName: name, podUid: uid };
    await writeFileAtomic(tokenFile, await this.token(token));
    await writeFileAtomic(`${home}/tokens/token`, await this.token({ ...token, audience: this.accounts.issuer }));
    await writeFileAtomic(`${home}/tokens/istio-ca-token`, await this.token({ ...token, audience: "istio-ca" }));
    const flags = {
      podName: name,
      serviceAccount: "istiod-service-account",
      cacertsDir,
      serviceAccountDir: `${home}/tokens`,
      agentAddress: agent,
      agentCaFile: this.agentCaFile,
      monitorListen: "127.0.0.1:0",
      istiodAddress: "127.0.0.1:1",
      resolve: [`vault.vault:8200:127.0.0.1:${new URL(vault).port}`],
    };
    const config = readConfig(istiodAgentOptions, { flags, env: {} });
    return { uid, cacertsDir, tokenFile, config };
  }

  /** A token as the agent wants it, but for what `request` changes. */
  token(request: Partial<FakeTokenRequest> = {}): Promise<string> {
    return this.accounts.sign({ audience: "enterprise-agent", ...request });
  }

  /** Puts an order in force: the guide's, but for what `vault` and `options` change. */
  order({ vault = {}, options = {} }: { vault?: Readonly<Record<string, unknown>>; options?: object } = {}): void {
    this.held.set([heldCertificate({ vault, options })]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

/** The IssuedCertificate that the guide's VirtualMesh makes for cluster-1, with a small key. */
export function heldCertificate({
  vault = {},
  options = {},
}: { vault?: object; options?: object } = {}): HeldCertificate {
  const name = { namespace: "gloo-mesh", name: "istiod-istio-system-cluster-1" };
  const certificate = IssuedCertificate.fromPartial({
    name,
    mesh: name,
    virtualMesh: { namespace: "gloo-mesh", name: "virtual-mesh" },
    hosts: ["spiffe://cluster.local/ns/istio-system/sa/istiod-service-account"],
    options: { ttlDays: 365, keySizeBits: 256, orgName: "gloo-mesh", secretRotationGracePeriodRatio: 0.1, ...options },
    installation: {
      namespace: "istio-system",
      deployment: "istiod",
      serviceAccounts: ["istiod-service-account", "istiod"],
    },
    certificateAuthority: {
      $case: "vault",
      value: {
        caPath: "pki/root/sign-intermediate",
        csrPath: "pki_int/intermediate/generate/exported",
        server: VAULT_URL,
        auth: { $case: "kubernetesAuth", value: { mountPath: "/v1/auth/kubernetes", role: "gen-int-ca-istio" } },
        ...vault,
      },
    },
  });
  return { certificate, version: Buffer.alloc(32, 1), detached: false };
}
