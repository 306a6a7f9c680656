import { cp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Condition } from "../../common/api/meta.ts";
import type { ApprovalStatus, VirtualMeshStatus } from "../../common/api/virtual-mesh.ts";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { Dialer } from "../../common/session/client.ts";
import { createVaultRoot, type VaultRoot } from "../../demo/vault-setup.ts";
import {
  AdminServiceService,
  RegistryServiceService,
  type ClusterCertificate,
  type GetIntentResponse,
  type RegisterClusterResponse,
} from "../../proto/gen/admin/v1/admin.ts";
import type { SigningCa } from "../../istiod-agent/issue/signing-ca.ts";
import { CertificateState, type ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { serverOptions } from "../../server/config.ts";
import { runServer } from "../../server/server.ts";
import { temporaryFolder, type TemporaryFolder } from "../harness/folder.ts";
import { eventually } from "../harness/wait.ts";
import { EC_KEY, FlowCluster, local } from "./cluster.ts";
import { launchHere, programSpec, type Launch, type ProgramSpec, type Running } from "./program.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");
const CALL_TIMEOUT_MS = 10_000;

/** What the server says of one VirtualMesh. */
export interface MeshView {
  readonly status: VirtualMeshStatus;
  /** In order of cluster. */
  readonly clusters: readonly ClusterCertificate[];
  readonly sourceProblems: readonly string[];
}

/** The condition, empty while it is not there. */
export const conditionOf = ({ status }: MeshView, type: string): Partial<Condition> =>
  status.conditions?.find((each) => each.type === type) ?? {};

/** The istiod of a cluster that is linked now. */
export const replicaOf = (view: MeshView, cluster: string): ReplicaStatus | undefined =>
  view.clusters.find((each) => each.cluster === cluster)?.certificate?.replicas.find(({ connected }) => connected);

/** Both clusters have what the newest VirtualMesh wants. */
export const isReady = (view: MeshView): boolean =>
  view.status.state === "ACCEPTED" && conditionOf(view, "Ready").status === "True";

/** What the status says of a cluster's mesh. */
export const meshOf = ({ status }: MeshView, cluster: string): ApprovalStatus =>
  status.meshes?.[`istiod-istio-system-${cluster}.gloo-mesh.`] ?? {};

/** The cluster's istiod holds another certificate than that one, and no error. */
export const isRenewed =
  (cluster: string, { facts }: SigningCa) =>
  (view: MeshView): boolean => {
    const { state, serial = "" } = replicaOf(view, cluster) ?? {};
    return state === CertificateState.CERTIFICATE_STATE_ISSUED && serial !== facts.serial;
  };

/** The cluster's istiod-agent reports this error. */
export const isFailed =
  (cluster: string, code: string) =>
  (view: MeshView): boolean => {
    const { state, error } = replicaOf(view, cluster) ?? {};
    return state === CertificateState.CERTIFICATE_STATE_FAILED && error?.code === code;
  };

export interface FlowMeshOptions {
  /** How our programs are run; without it in this process. */
  readonly launch?: Launch;
  /** Gives each cluster's Vault the root it has; without it all have one. */
  readonly rootOf?: (cluster: string, shared: VaultRoot) => Promise<VaultRoot>;
}

interface Parts {
  readonly folder: TemporaryFolder;
  readonly root: VaultRoot;
  readonly launch: Launch;
  readonly addresses: readonly string[];
}

/**
 * The whole product on loopback, but for istiod: a management server, and two clusters that each have an embedded Vault,
 * an agent and one pod. Programs keep their addresses over a restart.
 */
export class FlowMesh implements AsyncDisposable {
  readonly folder: TemporaryFolder;
  readonly root: VaultRoot;
  readonly launch: Launch;
  /** Settings of the server, by name of the option. */
  readonly serverFlags: Readonly<Record<string, string>>;
  readonly #stack = new AsyncDisposableStack();
  readonly #dialer: Dialer;
  #server: Running | undefined;
  #clusters: readonly FlowCluster[] = [];

  private constructor({ folder, root, launch, addresses }: Parts) {
    this.folder = folder;
    this.root = root;
    this.launch = launch;
    const [relayListen = "", enrollmentListen = "", adminListen = "", monitorListen = ""] = addresses;
    const stateDir = folder.file("server");
    const listeners = { relayListen, enrollmentListen, adminListen, monitorListen };
    this.serverFlags = { sourceDir: folder.file("source"), sourcePollMs: "50ms", stateDir, ...listeners };
    this.#dialer = new Dialer({ address: `unix:${join(stateDir, "admin.sock")}`, peer: "server" });
    this.#stack.use(folder);
    this.#stack.defer(() => this.#dialer.close());
    this.#stack.defer(() => this.#server?.stop());
  }

  /** Server and enrolled agents; neither a VirtualMesh nor a pod runs. */
  static async start({ launch = launchHere, rootOf }: FlowMeshOptions = {}): Promise<FlowMesh> {
    const folder = await temporaryFolder();
    const root = await createVaultRoot("my-org", EC_KEY, Date.now());
    const addresses = [await local(), await local(), await local(), await local()];
    const mesh = new FlowMesh({ folder, root, launch, addresses });
    try {
      await cp(EXAMPLES, folder.file("source"), { recursive: true });
      await mesh.removeSource("virtual-mesh.yaml");
      await mesh.startServer();
      const start = async (name: string): Promise<FlowCluster> =>
        FlowCluster.start(mesh, name, (await rootOf?.(name, root)) ?? root);
      mesh.#clusters = await Promise.all(["cluster-1", "cluster-2"].map(start));
      for (const cluster of mesh.#clusters) mesh.#stack.use(cluster);
      return mesh;
    } catch (error) {
      await mesh[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The same with the guide's VirtualMesh in force and a sidecar in each cluster. */
  static async startReady(options: FlowMeshOptions = {}): Promise<FlowMesh> {
    const mesh = await FlowMesh.start(options);
    try {
      await mesh.apply();
      await Promise.all(mesh.clusters.map(({ pod }) => pod.start()));
      await mesh.untilReady();
      return mesh;
    } catch (error) {
      await mesh[Symbol.asyncDispose]();
      throw error;
    }
  }

  get clusters(): readonly [FlowCluster, FlowCluster] {
    return this.#clusters as readonly [FlowCluster, FlowCluster];
  }

  get server(): Running {
    if (!this.#server) throw new Error("the server was not started");
    return this.#server;
  }

  /** The server as a program, with other settings where `flags` has them. */
  serverProgram(flags: Readonly<Record<string, string>> = {}): ProgramSpec {
    const program = { name: "enterprise-networking", main: ["server/main.ts"], run: runServer } as const;
    return programSpec({ ...program, options: serverOptions, flags: { ...this.serverFlags, ...flags } });
  }

  async startServer(): Promise<void> {
    this.#server = await this.launch(this.serverProgram(), this.folder.file("server.log"));
  }

  /** Writes the guide's VirtualMesh with small keys, changed by `edit`, in one piece. */
  async apply(edit: (yaml: string) => string = (yaml) => yaml, name = "virtual-mesh.yaml"): Promise<void> {
    await this.writeSource(name, edit(await virtualMeshYaml()));
  }

  async writeSource(name: string, text: string): Promise<void> {
    await writeFileAtomic(this.folder.file("source", name), text);
  }

  /** Puts files of the guide back, as they are. */
  async copyExample(...names: string[]): Promise<void> {
    for (const name of names) await cp(join(EXAMPLES, name), this.folder.file("source", name));
  }

  async removeSource(...names: string[]): Promise<void> {
    for (const name of names) await rm(this.folder.file("source", name));
  }

  /** Registers a cluster; returns the token and the pin that its agent needs. */
  async register(cluster: string, renewToken = false, tokenTtlSeconds = 0): Promise<RegisterClusterResponse> {
    const request = { cluster, tokenTtlSeconds, renewToken };
    const call = { signal: never(), timeoutMs: CALL_TIMEOUT_MS };
    return eventually(`${cluster} registered`, () =>
      this.#dialer.unary(RegistryServiceService.registerCluster, request, call),
    );
  }

  /** True once the cluster's agent has stored all that the server wants of it. */
  async isInSync(cluster: string): Promise<boolean> {
    return (await this.intent(cluster)).resources.every(({ acknowledged }) => acknowledged);
  }

  /** What the server wants a cluster to hold. */
  async intent(cluster: string): Promise<GetIntentResponse> {
    const call = { signal: never(), timeoutMs: CALL_TIMEOUT_MS };
    return this.#dialer.unary(AdminServiceService.getIntent, { cluster }, call);
  }

  /** Waits for a status that `accept` takes, of the guide's VirtualMesh or the one of that name. */
  async status(what: string, accept: (view: MeshView) => boolean, name = "virtual-mesh"): Promise<MeshView> {
    let last: MeshView | undefined;
    const seen = eventually(what, async () => {
      for await (const response of this.#watch()) {
        const found = response.virtualMeshes.find((each) => each.name?.name === name);
        if (!found) continue;
        const { status = {}, clusters } = found;
        last = { status, clusters, sourceProblems: response.sourceProblems };
        if (accept(last)) return last;
      }
      return undefined;
    });
    return seen.catch((cause: unknown) => {
      throw new Error(`${what}: not reached; last status: ${JSON.stringify(last?.status, undefined, 1)}`, { cause });
    });
  }

  async untilReady(what = "ready"): Promise<MeshView> {
    return this.status(what, isReady);
  }

  #watch() {
    const signal = AbortSignal.timeout(STREAM_MS);
    return this.#dialer.serverStream(
      AdminServiceService.watchStatus,
      { virtualMesh: undefined, cluster: "", inParts: false },
      signal,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** A stream is opened anew after this time, so that a wait ends near its deadline. */
const STREAM_MS = 10_000;

/** The guide's VirtualMesh, but for keys that are made in no time. */
export async function virtualMeshYaml(): Promise<string> {
  const guide = await readFile(join(EXAMPLES, "virtual-mesh.yaml"), "utf8");
  const small = "shared:\n      intermediateCertOptions:\n        rsaKeySizeBytes: 256";
  return guide.replace("shared:", small);
}

/** An edit that asks for another life, so that each istiod gets a new certificate. */
export const withTtlDays =
  (days: number) =>
  (yaml: string): string =>
    yaml.replace("rsaKeySizeBytes: 256", `rsaKeySizeBytes: 256\n        ttlDays: ${days}`);

const never = (): AbortSignal => new AbortController().signal;
