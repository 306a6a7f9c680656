import { randomBytes } from "node:crypto";
import { ensureTools } from "../tools/build.ts";
import {
  startControllerManager,
  startEtcd,
  startKubeApiServer,
  TOKEN_ISSUER,
  writeApiServerFiles,
  type ApiServerPlan,
} from "./api-server-processes.ts";
import { runCommand } from "./command.ts";
import { temporaryFolder } from "./folder.ts";
import { freePort } from "./ports.ts";
import type { RunningProcess } from "./process.ts";
import { eventually } from "./wait.ts";

/** What `startApiServer` needs, for `skipWithout`. */
export const API_SERVER_TOOLS = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"] as const;

type Tools = Readonly<Record<(typeof API_SERVER_TOOLS)[number], string>>;

export interface TokenRequest {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Default: the API server's own audience. */
  readonly audience?: string;
  /** Binds the token to this pod, which must exist and run under that account. */
  readonly pod?: PodRef;
  /** At least 600. Default: one hour. */
  readonly expirationSeconds?: number;
}

export interface PodRef {
  readonly name: string;
  readonly uid: string;
}

/**
 * Starts a real Kubernetes API server with its own etcd and controller manager, and no nodes: objects, accounts,
 * tokens, RBAC, watches and controllers are real, pods stay Pending. Builds the programs if need be. Resolves when it
 * serves and ServiceAccounts are being made, about 5 s later.
 */
export async function startApiServer(): Promise<ApiServer> {
  await using stack = new AsyncDisposableStack();
  const tools = await ensureTools(API_SERVER_TOOLS);
  const folder = stack.use(await temporaryFolder());
  const plan: ApiServerPlan = {
    folder,
    etcdUrl: `http://127.0.0.1:${await freePort()}`,
    url: `https://127.0.0.1:${await freePort()}`,
    caFile: folder.file("certs", "apiserver.crt"),
    adminToken: randomBytes(24).toString("base64url"),
    kubeconfig: folder.file("kubeconfig"),
  };
  await writeApiServerFiles(plan);
  const processes = [
    stack.use(await startEtcd(tools.etcd, plan)),
    stack.use(await startKubeApiServer(tools["kube-apiserver"], plan)),
    stack.use(await startControllerManager(tools["kube-controller-manager"], plan)),
  ];
  await untilControllersWork(tools.kubectl, plan);
  return new ApiServer(tools, plan, processes, stack.move());
}

async function untilControllersWork(kubectl: string, { kubeconfig }: ApiServerPlan): Promise<void> {
  const args = ["--kubeconfig", kubeconfig, "get", "serviceaccount", "default"];
  await eventually("default service account", () => runCommand(kubectl, args));
}

/** A running API server. Disposing stops its programs and removes their files. */
export class ApiServer implements AsyncDisposable {
  /** `https://127.0.0.1:PORT`. */
  readonly url: string;
  /** PEM file with which to verify it. */
  readonly caFile: string;
  /** Issuer claim of its tokens. */
  readonly issuer = TOKEN_ISSUER;
  /** Bearer token of a member of system:masters. */
  readonly adminToken: string;
  /** Path of a kubeconfig for that administrator. */
  readonly kubeconfig: string;
  /** etcd, kube-apiserver as it was started first, kube-controller-manager. */
  readonly processes: readonly RunningProcess[];
  readonly #tools: Tools;
  readonly #plan: ApiServerPlan;
  #apiServer: RunningProcess | undefined;
  readonly #resources: AsyncDisposableStack;

  constructor(
    tools: Tools,
    plan: ApiServerPlan,
    processes: readonly RunningProcess[],
    resources: AsyncDisposableStack,
  ) {
    this.url = plan.url;
    this.caFile = plan.caFile;
    this.adminToken = plan.adminToken;
    this.kubeconfig = plan.kubeconfig;
    this.processes = processes;
    this.#apiServer = processes[1];
    this.#tools = tools;
    this.#plan = plan;
    this.#resources = resources;
  }

  /** Kills kube-apiserver and starts it again at the same address; its store stays. Resolves when it serves. */
  async restart(): Promise<void> {
    await this.#apiServer?.stop();
    this.#apiServer = this.#resources.use(await startKubeApiServer(this.#tools["kube-apiserver"], this.#plan));
  }

  /** Runs kubectl as administrator and returns its standard output. */
  kubectl(args: readonly string[], stdin?: string): Promise<string> {
    const options = stdin === undefined ? {} : { stdin };
    return runCommand(this.#tools.kubectl, ["--kubeconfig", this.kubeconfig, ...args], options);
  }

  /** Server-side apply of these objects: the controllers may make the same one (account `default`) in the same instant. */
  async apply(...items: readonly object[]): Promise<void> {
    await this.kubectl(
      ["apply", "--server-side", "--force-conflicts", "-f", "-"],
      JSON.stringify({ apiVersion: "v1", kind: "List", items }),
    );
  }

  /** Creates the namespace and the account where they do not exist. */
  async createServiceAccount(namespace: string, name: string): Promise<void> {
    await this.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name } },
    );
  }

  /** An account that may ask for TokenReviews, as Vault's chart makes for Vault; returns its token. */
  async createTokenReviewer(namespace: string, name: string): Promise<string> {
    await this.createServiceAccount(namespace, name);
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:auth-delegator" };
    const subjects = [{ kind: "ServiceAccount", namespace, name }];
    const metadata = { name: `${namespace}-${name}-reviewer` };
    await this.apply({
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata,
      roleRef,
      subjects,
    });
    return this.createToken({ namespace, serviceAccount: name });
  }

  /** A token by TokenRequest. */
  async createToken(request: TokenRequest): Promise<string> {
    const { namespace, serviceAccount, audience, pod, expirationSeconds } = request;
    const args = ["create", "token", serviceAccount, "--namespace", namespace];
    if (audience !== undefined) args.push("--audience", audience);
    if (expirationSeconds !== undefined) args.push("--duration", `${expirationSeconds}s`);
    if (pod) args.push("--bound-object-kind=Pod", "--bound-object-name", pod.name, "--bound-object-uid", pod.uid);
    return (await this.kubectl(args)).trim();
  }

  /** Waits for a pod that carries the label, `app=istiod`: the controllers make it from an applied Deployment. */
  podWith(namespace: string, label: string): Promise<PodRef> {
    return eventually(`pod ${label} in ${namespace}`, async () => {
      const output = await this.kubectl(["get", "pods", "--namespace", namespace, "--selector", label, "-o", "json"]);
      return (JSON.parse(output) as { items: { metadata: PodRef }[] }).items[0]?.metadata;
    });
  }

  /** The keys that verify its tokens, as a JSON Web Key Set. */
  async jwks(): Promise<{ readonly keys: readonly object[] }> {
    return JSON.parse(await this.kubectl(["get", "--raw", "/openid/v1/jwks"])) as { keys: object[] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
