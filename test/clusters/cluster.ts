import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { MeshError } from "../../common/runtime/errors.ts";
import { answersOk } from "../harness/api-server-processes.ts";
import { runCommand, type CommandOptions } from "../harness/command.ts";
import { eventually } from "../harness/wait.ts";
import { ensureTools } from "../tools/build.ts";
import type { Node } from "./node.ts";
import { INSIDE, PREFIX, type ClusterPlan } from "./plan.ts";
import { apiServerUrl, argumentsOf, ETCD_URL, FILES, type ProgramName, PROGRAMS } from "./programs.ts";

/** A container: the first one of the pod where none is named. `pod` may be `deploy/NAME` or `sts/NAME`. */
export interface ContainerRef {
  readonly namespace: string;
  readonly pod: string;
  readonly container?: string;
}

/** TCP packets to be dropped: those to a port, of one address or of all. */
export interface Traffic {
  readonly port: number;
  readonly address?: string;
}

/** One key of etcd with what is stored under it, as it lies there. */
export interface Stored {
  readonly key: string;
  readonly value: Buffer;
}

/** A running cluster. The handle holds nothing: any process of root may have one, and letting go of it changes nothing. */
export class Cluster {
  readonly plan: ClusterPlan;
  readonly node: Node;
  /** Of this cluster alone; the context is the cluster's name. */
  readonly kubeconfig: string;

  constructor(node: Node) {
    this.plan = node.plan;
    this.node = node;
    this.kubeconfig = join(node.plan.directory, "kubeconfig");
  }

  get name(): string {
    return this.plan.name;
  }

  /** Where NodePorts answer, for the host and for pods of all clusters. */
  get nodeAddress(): string {
    return this.plan.nodeAddress;
  }

  /** Runs kubectl as administrator of this cluster and returns its standard output. */
  async kubectl(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { kubectl } = await ensureTools(["kubectl"]);
    return runCommand(kubectl, ["--kubeconfig", this.kubeconfig, "--context", this.name, ...args], options);
  }

  /** An object, or a list of them, as parsed JSON: `get<Pod>("pod", "x", "--namespace", "y")`. */
  async get<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.kubectl(["get", ...args, "--output", "json"])) as T;
  }

  /** Server-side apply of objects, or of a text of YAML. */
  async apply(...objects: readonly (object | string)[]): Promise<void> {
    const args = ["apply", "--server-side", "--force-conflicts", "--filename", "-"];
    const texts = objects.filter((each) => typeof each === "string");
    const items = objects.filter((each) => typeof each !== "string");
    const list = items.length > 0 ? [JSON.stringify({ apiVersion: "v1", kind: "List", items })] : [];
    for (const stdin of [...texts, ...list]) await this.kubectl(args, { stdin });
  }

  /** Runs a command in a container; throws with its standard error when its code is not 0. */
  exec({ namespace, pod, container }: ContainerRef, command: readonly string[], options: CommandOptions = {}) {
    const where = ["--namespace", namespace, pod, ...(container === undefined ? [] : ["--container", container])];
    const stdin = options.stdin === undefined ? [] : ["--stdin"];
    return this.kubectl(["exec", ...stdin, ...where, "--", ...command], options);
  }

  /** Waits until the Deployment (`deploy/NAME`) or StatefulSet (`sts/NAME`) has rolled out. */
  async untilRolledOut(namespace: string, workload: string, timeoutMs = 120_000): Promise<void> {
    const args = ["rollout", "status", workload, "--namespace", namespace, `--timeout=${timeoutMs / 1000}s`];
    await this.kubectl(args, { timeoutMs: timeoutMs + 5_000 });
  }

  /** What a container, or one of its predecessors, has printed. */
  logs({ namespace, pod, container }: ContainerRef, ...more: readonly string[]): Promise<string> {
    const where = ["--namespace", namespace, pod, ...(container === undefined ? [] : ["--container", container])];
    return this.kubectl(["logs", ...where, ...more]);
  }

  /** All that a program of the node has printed. */
  logsOf(program: ProgramName): Promise<string> {
    return readFile(join(this.plan.directory, "logs", `${program}.log`), "utf8");
  }

  /** Stops a program of the node; containers go on. etcd and API server are killed: they hang in their own shutdown. */
  async stop(program: ProgramName): Promise<void> {
    await this.node.stop(program, program === "etcd" || program === "kube-apiserver" ? "KILL" : "TERM");
  }

  /** Starts a program of the node and waits until it works; does nothing when it runs. */
  async start(program: ProgramName): Promise<void> {
    if (!(await this.node.isRunning(program))) {
      const { [program]: path } = await ensureTools([program]);
      await this.node.spawn(program, path, argumentsOf(program, this.plan));
    }
    await this.#untilReady(program);
  }

  async restart(program: ProgramName): Promise<void> {
    await this.stop(program);
    await this.start(program);
  }

  /** The programs that should run and do not. */
  async missing(): Promise<ProgramName[]> {
    const states = await Promise.all(PROGRAMS.map(async (name) => ({ name, runs: await this.node.isRunning(name) })));
    return states.filter(({ runs }) => !runs).map(({ name }) => name);
  }

  /** Drops TCP packets of pods and node until it is disposed; connections that stand hang, as behind a broken router. */
  async block({ port, address }: Traffic): Promise<AsyncDisposable> {
    const table = `${PREFIX}_block_${port}_${Date.now()}`;
    const match = `${address === undefined ? "" : `ip daddr ${address} `}tcp dport ${port} drop`;
    // Before the addresses of Services are exchanged for those of pods, and after.
    const hooks = ["prerouting priority -110", "forward priority 0", "output priority -110"];
    const chains = hooks.map((hook, index) => `chain c${index} { type filter hook ${hook}; ${match}; }`);
    await this.node.run("nft", ["-f", "-"], { stdin: `table ip ${table} { ${chains.join("\n")}\n}` });
    return {
      [Symbol.asyncDispose]: async () => {
        await this.node.run("nft", ["delete", "table", "ip", table]);
      },
    };
  }

  /** All that the cluster stores, past the API server. */
  async dumpEtcd(): Promise<Stored[]> {
    const answer = await this.#fetch(`${ETCD_URL}/v3/kv/range`, EVERY_KEY);
    const { kvs = [] } = JSON.parse(answer) as { kvs?: { key: string; value?: string }[] };
    return kvs.map(({ key, value = "" }) => ({
      key: Buffer.from(key, "base64").toString("latin1"),
      value: Buffer.from(value, "base64"),
    }));
  }

  /** Folder of a pod's volume on the node, as the host reaches it: memory volumes, tokens and mounted Secrets too. */
  async volumePath(namespace: string, pod: string, volume: string): Promise<string> {
    const { metadata, spec } = await this.get<PodObject>("pod", pod, "--namespace", namespace);
    const found = spec.volumes.find(({ name }) => name === volume) ?? {};
    const kind = Object.keys(found).find((key) => key in VOLUME_FOLDERS) ?? "emptyDir";
    const folder = VOLUME_FOLDERS[kind as keyof typeof VOLUME_FOLDERS];
    return this.node.path(`${INSIDE}/kubelet/pods/${metadata.uid}/volumes/kubernetes.io~${folder}/${volume}`);
  }

  /** Runs containerd's own command line on the images and containers of pods. */
  async ctr(...args: readonly string[]): Promise<string> {
    const { ctr } = await ensureTools(["ctr"]);
    return this.node.run(ctr, ["--address", FILES.containerdSocket, "--namespace", "k8s.io", ...args]);
  }

  /** Posts JSON to an address that only the node itself reaches. */
  #fetch(url: string, body: object): Promise<string> {
    const program = `const answer = await fetch(process.argv[1], { method: "POST", body: process.argv[2] });
      if (!answer.ok) throw new Error(answer.status + " " + (await answer.text()));
      process.stdout.write(await answer.text());`;
    const args = ["--input-type=module", "--eval", program, "--", url, JSON.stringify(body)];
    return this.node.run(process.execPath, args);
  }

  async #untilReady(program: ProgramName): Promise<void> {
    const probe = async () => {
      const ready = await this.#isReady(program).catch((error: unknown) => error);
      if (ready === true) return { ended: false };
      if (!(await this.node.isRunning(program))) return { ended: true };
      throw ready;
    };
    const { ended } = await eventually(`${program} of ${this.name}`, probe, { timeoutMs: READY_TIMEOUT_MS });
    if (!ended) return;
    const lines = (await this.logsOf(program)).trimEnd().split("\n").slice(-5).join("\n");
    throw new MeshError("failed_precondition", `${program} of ${this.name} ended at its start:\n${lines}`);
  }

  async #isReady(program: ProgramName): Promise<boolean> {
    if (program === "etcd") await this.#fetch(`${ETCD_URL}/v3/kv/range`, ONE_KEY);
    if (program === "containerd") await this.ctr("version");
    if (program !== "kube-apiserver") return true;
    const ca = await readFile(join(this.plan.directory, "certs/apiserver.crt"));
    return answersOk(`${apiServerUrl(this.plan)}/readyz`, ca);
  }
}

/** On a busy machine an API server with many definitions takes minutes. */
const READY_TIMEOUT_MS = 180_000;

/** etcd's ranges: from the first possible key to the end, and one that does not exist. */
const EVERY_KEY = { key: "AA==", range_end: "AA==" };
const ONE_KEY = { key: "AA==" };

interface PodObject {
  readonly metadata: { readonly uid: string };
  readonly spec: { readonly volumes: readonly { readonly name: string }[] };
}

const VOLUME_FOLDERS = { emptyDir: "empty-dir", projected: "projected", secret: "secret", configMap: "configmap" };
