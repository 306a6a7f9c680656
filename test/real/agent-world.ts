import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { Dialer } from "../../common/session/client.ts";
import {
  AdminServiceService,
  type ClusterCertificate,
  RegistryServiceService,
} from "../../proto/gen/admin/v1/admin.ts";
import type { IssuedCertificate } from "../../common/api/certificates.ts";
import {
  IstiodServiceService,
  LinkMode,
  type LinkRequest,
  type LinkResponse,
} from "../../proto/gen/istiod/v1/istiod.ts";
import type { ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { startApiServer, type ApiServer, type PodRef } from "../harness/api-server.ts";
import { temporaryFolder, type TemporaryFolder } from "../harness/folder.ts";
import { CRDS_FOLDER, Helm } from "../harness/helm.ts";
import { freePort } from "../harness/ports.ts";
import { startProcess, type RunningProcess } from "../harness/process.ts";
import { eventually } from "../harness/wait.ts";
import { ensureTools } from "../tools/build.ts";
import { istiodDeployment } from "./istiod-deployment.ts";

const REPOSITORY = join(import.meta.dirname, "../..");
const VALUES = "relay: {cluster: cluster-1, serverAddress: unused:9900}\nistiodSidecar: {createRoleBinding: true}\n";
const ACCOUNT = { namespace: "istio-system", serviceAccount: "istiod-service-account" };
export const CERTIFICATE = "istiod-istio-system-cluster-1";

const local = async (): Promise<string> => `127.0.0.1:${await freePort()}`;

/** A replica of the agent as a program of its own. */
export interface AgentReplica {
  readonly name: string;
  /** Of its 9977. */
  readonly address: string;
  readonly process: RunningProcess;
}

/** A cluster's API server with the chart's rights, a standalone management server, and replicas of the agent. */
export class AgentWorld implements AsyncDisposable {
  readonly api: ApiServer;
  readonly folder: TemporaryFolder;
  /** Of the agent's account, which has the rights of the chart. */
  readonly agentKubeconfig: string;
  readonly #stack: AsyncDisposableStack;
  readonly #server: { readonly relay: string; readonly enrollment: string };

  private constructor(
    parts: Pick<AgentWorld, "api" | "folder"> & {
      server: { readonly relay: string; readonly enrollment: string };
      kubeconfig: string;
    },
    stack: AsyncDisposableStack,
  ) {
    this.api = parts.api;
    this.folder = parts.folder;
    this.#server = parts.server;
    this.agentKubeconfig = parts.kubeconfig;
    this.#stack = stack;
  }

  static async start(): Promise<AgentWorld> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await temporaryFolder());
    const api = stack.use(await startApiServer());
    await api.createServiceAccount(ACCOUNT.namespace, ACCOUNT.serviceAccount);
    await api.kubectl(["create", "namespace", "gloo-mesh"]);
    await api.kubectl(["apply", "--server-side", "-f", CRDS_FOLDER]);
    await api.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
    await applyChartRights(api, folder);
    await api.apply(istiodDeployment(ACCOUNT));
    const data = { mesh: "trustDomain: cluster.local\n" };
    await api.apply({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { namespace: "istio-system", name: "istio" },
      data,
    });
    const kubeconfig = await agentKubeconfig(api, folder);
    const server = await startServer(folder, stack);
    return new AgentWorld({ api, folder, server, kubeconfig }, stack.move());
  }

  /** Registers cluster-1; makes the Secrets that meshctl would, with these labels on the token's. */
  async register(labels: Readonly<Record<string, string>>): Promise<string> {
    const address = `unix:${this.folder.file("state", "admin.sock")}`;
    const dialer = new Dialer({ address, peer: "admin socket" });
    const request = { cluster: "cluster-1", tokenTtlSeconds: 0, renewToken: true };
    const call = { signal: AbortSignal.timeout(30_000), timeoutMs: 10_000 };
    try {
      const { token, trustBundle } = await dialer.unary(RegistryServiceService.registerCluster, request, call);
      const secret = (name: string, stringData: object, metadata: object = {}) => ({
        ...{ apiVersion: "v1", kind: "Secret", metadata: { namespace: "gloo-mesh", name, ...metadata }, stringData },
      });
      await this.api.apply(
        secret("relay-root-tls-secret", { "ca.crt": trustBundle }),
        secret("relay-identity-token-secret", { token }, { labels }),
      );
      return token;
    } finally {
      dialer.close();
    }
  }

  /** Waits until the server tells of the cluster's certificate what `accept` takes. */
  async status(what: string, accept: (cluster: ClusterCertificate) => boolean): Promise<ClusterCertificate> {
    const dialer = new Dialer({ address: `unix:${this.folder.file("state", "admin.sock")}`, peer: "admin socket" });
    try {
      const request = { virtualMesh: undefined, cluster: "", inParts: false };
      for await (const { virtualMeshes } of dialer.serverStream(
        AdminServiceService.watchStatus,
        request,
        AbortSignal.timeout(60_000),
      )) {
        const found = virtualMeshes.flatMap(({ clusters }) => clusters).find(accept);
        if (found) return found;
      }
      throw new Error(`${what}: the server ended the stream`);
    } finally {
      dialer.close();
    }
  }

  /** Puts the guide's VirtualMesh in force, changed by `edit`. */
  async applyVirtualMesh(edit: (yaml: string) => string = (yaml) => yaml): Promise<void> {
    const text = await readFile(join(REPOSITORY, "examples/virtual-mesh.yaml"), "utf8");
    await writeFile(this.folder.file("source", "virtual-mesh.yaml"), edit(text));
  }

  /** Starts a replica, with a pod of its name, which no kubelet runs. Resolves when it serves istiods. */
  async startReplica(name: string): Promise<AgentReplica> {
    const container = { name: "enterprise-agent", image: "none" };
    const metadata = { namespace: "gloo-mesh", name };
    await this.api.apply({ apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [container] } });
    const [address, debug, monitor] = [await local(), await local(), await local()];
    const process = await startProgram("agent/main.ts", {
      name: `enterprise-agent ${name}`,
      folder: this.folder,
      monitor,
      args: [
        ...["--kubernetes-kubeconfig", this.agentKubeconfig, "--replica-name", name],
        ...["--relay-cluster", "cluster-1", "--relay-server-address", this.#server.relay],
        ...["--relay-enrollment-address", this.#server.enrollment],
        ...["--istiod-listen", address, "--debug-listen", debug, "--monitor-listen", monitor],
      ],
    });
    this.#stack.use(process);
    return { name, address, process };
  }

  /** A pod of istiod's Deployment. */
  istiodPod(): Promise<PodRef> {
    return this.api.podWith("istio-system", "app=istiod");
  }

  /** All of them. */
  async istiodPods(): Promise<readonly PodRef[]> {
    const output = await this.api.kubectl(["get", "pods", "-n", "istio-system", "-l", "app=istiod", "-o", "json"]);
    const { items } = JSON.parse(output) as { items: { metadata: PodRef & { deletionTimestamp?: string } }[] };
    return items.flatMap(({ metadata }) => (metadata.deletionTimestamp === undefined ? [metadata] : []));
  }

  /** A pod that runs as that account and is of a Deployment that is no istiod's. */
  async otherPod(namespace: string, serviceAccount: string): Promise<PodRef> {
    await this.api.createServiceAccount(namespace, serviceAccount);
    const labels = { app: "other" };
    const containers = [{ name: "other", image: "none" }];
    const template = { metadata: { labels }, spec: { serviceAccountName: serviceAccount, containers } };
    await this.api.apply({
      ...{ apiVersion: "apps/v1", kind: "Deployment", metadata: { namespace, name: "other" } },
      spec: { selector: { matchLabels: labels }, template },
    });
    return this.api.podWith(namespace, "app=other");
  }

  /** Gives the rights of the chart, once more where somebody took one away. */
  async applyChartRights(): Promise<void> {
    await applyChartRights(this.api, this.folder);
  }

  /** A token of that pod. */
  token(pod: PodRef, audience = "enterprise-agent"): Promise<string> {
    return this.api.createToken({ ...ACCOUNT, pod, audience });
  }

  async get<T>(kind: string, name: string, namespace = "gloo-mesh"): Promise<T> {
    return JSON.parse(await this.api.kubectl(["get", kind, name, "-n", namespace, "-o", "json"])) as T;
  }

  /** Waits until the IssuedCertificate is as `accept` wants it. */
  certificate(what: string, accept: (certificate: IssuedCertificate) => boolean): Promise<IssuedCertificate> {
    return eventually(what, async () => {
      const found = await this.get<IssuedCertificate>("issuedcertificate", CERTIFICATE);
      return accept(found) ? found : undefined;
    });
  }

  /** Opens a link as an istiod-agent does, verified by what is published under the replica's name. */
  async link(replica: AgentReplica, token: string): Promise<PodLink> {
    const { data } = await this.get<{ data: Record<string, string> }>("configmap", "enterprise-agent-ca");
    return new PodLink(replica.address, token, data[`${replica.name}.pem`] ?? "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** One stream to 9977. */
export class PodLink implements Disposable {
  readonly #dialer: Dialer;
  readonly #messages: AsyncGenerator<LinkResponse, void>;
  readonly #write: (message: LinkRequest) => void;
  readonly #over = new AbortController();

  constructor(address: string, token: string, rootsPem: string) {
    this.#dialer = new Dialer({
      ...{ address, peer: "agent", authority: "enterprise-agent.gloo-mesh" },
      tls: { rootsPem, minVersion: "TLSv1.2" },
      headers: () => ({ authorization: `Bearer ${token}` }),
    });
    const stream = this.#dialer.bidi(IstiodServiceService.link, this.#over.signal);
    this.#messages = stream.messages();
    this.#write = (message) => void stream.write(message);
    this.#write({ message: { $case: "hello", value: { mode: LinkMode.LINK_MODE_SIDECAR, version: "test" } } });
  }

  /** The next message of that kind; throws what ends the stream. */
  async next(kind: NonNullable<LinkResponse["message"]>["$case"]): Promise<NonNullable<LinkResponse["message"]>> {
    for (;;) {
      const { value, done } = await this.#messages.next();
      if (done === true) throw new Error("the link ended");
      if (value.message?.$case === kind) return value.message;
    }
  }

  report(status: ReplicaStatus): void {
    this.#write({ message: { $case: "status", value: status } });
  }

  [Symbol.dispose](): void {
    this.#over.abort();
    this.#dialer.close();
  }
}

async function applyChartRights(api: ApiServer, folder: TemporaryFolder): Promise<void> {
  const { helm } = await ensureTools(["helm"]);
  const manifests = parseAllDocuments(await new Helm(helm, folder).template("enterprise-agent", VALUES));
  const kinds = ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"];
  const objects = manifests.map((document) => document.toJS() as { kind?: string } | null);
  await api.apply(...objects.flatMap((object) => (object?.kind && kinds.includes(object.kind) ? [object] : [])));
}

async function agentKubeconfig(api: ApiServer, folder: TemporaryFolder): Promise<string> {
  const token = await api.createToken({ namespace: "gloo-mesh", serviceAccount: "enterprise-agent" });
  const file = folder.file("agent-kubeconfig");
  const config = {
    clusters: [{ name: "c", cluster: { server: api.url, "certificate-authority": api.caFile } }],
    users: [{ name: "u", user: { token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  await writeFile(file, JSON.stringify(config));
  return file;
}

async function startServer(folder: TemporaryFolder, stack: AsyncDisposableStack) {
  await mkdir(folder.file("source"));
  for (const name of ["mesh-cluster-1", "kubernetes-cluster-1"]) {
    await cp(join(REPOSITORY, "examples", `${name}.yaml`), folder.file("source", `${name}.yaml`));
  }
  const [relay, enrollment, admin, monitor] = [await local(), await local(), await local(), await local()];
  const args = [
    ...["--source-dir", folder.file("source"), "--source-poll-interval", "100ms", "--state-dir", folder.file("state")],
    ...["--relay-listen", relay, "--enrollment-listen", enrollment],
    ...["--admin-listen", admin, "--monitor-listen", monitor],
  ];
  stack.use(await startProgram("server/main.ts", { name: "enterprise-networking", folder, monitor, args }));
  return { relay, enrollment };
}

interface ProgramPlan {
  readonly name: string;
  readonly folder: TemporaryFolder;
  readonly args: readonly string[];
  /** Its /readyz is waited for. */
  readonly monitor: string;
}

function startProgram(main: string, { name, folder, args, monitor }: ProgramPlan): Promise<RunningProcess> {
  return startProcess({
    name,
    command: process.execPath,
    args: [join(REPOSITORY, main), ...args, "--log-level", "debug"],
    logFile: folder.file(`${name.replaceAll(" ", "-")}.log`),
    ready: async () => (await fetch(`http://${monitor}/readyz`)).ok,
  });
}
