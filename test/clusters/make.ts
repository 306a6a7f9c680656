import { generateKeyPairSync, randomBytes } from "node:crypto";
import { rm, writeFile, mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { MeshError } from "../../common/runtime/errors.ts";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { eventually } from "../harness/wait.ts";
import { ensureTools } from "../tools/build.ts";
import { Cluster } from "./cluster.ts";
import type { Image, ImageStore } from "./images/store.ts";
import { joinNetwork, removeLink } from "./network.ts";
import { Node } from "./node.ts";
import { INSIDE, type ClusterPlan, type FleetPlan } from "./plan.ts";
import { configurationOf, FILES, kubeconfigOf } from "./programs.ts";
import { removeCgroup } from "./cgroups.ts";

/** Told of each step as it is done. */
export type OnStep = (cluster: string, step: string) => void;

export interface MakeOptions {
  readonly fleet: FleetPlan;
  readonly store: ImageStore;
  readonly images: readonly Image[];
  readonly onStep: OnStep;
}

/**
 * A cluster without pods: made new where there is none or its node has died, its programs started again where they have
 * ended, and left alone where all is well. Images that it lacks or has in another version are imported.
 */
export async function makeCluster(plan: ClusterPlan, options: MakeOptions): Promise<Cluster> {
  const found = await Node.find(plan);
  const node = found ?? (await newNode(plan, options));
  const cluster = new Cluster(node);
  const images = (async () => {
    await cluster.start("containerd");
    await importImages(cluster, options);
  })();
  const api = startControlPlane(cluster, options);
  await Promise.all([images, api]);
  for (const program of ["kubelet", "kube-proxy", "coredns"] as const) await cluster.start(program);
  await untilReady(cluster);
  options.onStep(plan.name, found ? "node ready (was up)" : "node ready");
  return cluster;
}

/** Ends all processes of a cluster and removes what was theirs. Needs no memory of how it was made. */
export async function removeCluster({ cgroup, link, directory }: ClusterPlan): Promise<void> {
  await removeCgroup(cgroup);
  await removeLink(link);
  await rm(directory, { recursive: true, force: true, maxRetries: 5 });
}

async function newNode(plan: ClusterPlan, { fleet, onStep }: MakeOptions): Promise<Node> {
  await removeCluster(plan);
  await mkdir(plan.directory, { recursive: true, mode: 0o700 });
  await writeKeys(plan);
  const node = await Node.start(plan);
  await joinNetwork(node, fleet);
  onStep(plan.name, "node started");
  return node;
}

/** Where a file of the node lies on the host. */
const onHost = (plan: ClusterPlan, inside: string): string => join(plan.directory, inside.slice(INSIDE.length + 1));

async function writeKeys(plan: ClusterPlan): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs1", format: "pem" },
  });
  const files = {
    ...configurationOf(plan),
    [FILES.signingKey]: privateKey,
    [FILES.signingPublicKey]: publicKey,
    [FILES.tokens]: `${randomBytes(24).toString("base64url")},admin,admin,"system:masters"\n`,
  };
  for (const [inside, text] of Object.entries(files)) {
    await mkdir(dirname(onHost(plan, inside)), { recursive: true });
    await writeFile(onHost(plan, inside), text, { mode: 0o600 });
  }
}

async function startControlPlane(cluster: Cluster, { onStep }: MakeOptions): Promise<void> {
  await cluster.start("etcd");
  await cluster.start("kube-apiserver");
  await writeFileAtomic(
    onHost(cluster.plan, FILES.kubeconfig),
    JSON.stringify(kubeconfigOf([await accessTo(cluster.plan)])),
  );
  onStep(cluster.name, "API server ready");
  await cluster.start("kube-controller-manager");
  await cluster.start("kube-scheduler");
}

/** Address, CA and administrator's token of a cluster whose API server has been started once. */
export async function accessTo(plan: ClusterPlan): Promise<{ plan: ClusterPlan; caPem: string; token: string }> {
  const caPem = await readFile(onHost(plan, FILES.ca), "utf8");
  const [token = ""] = (await readFile(onHost(plan, FILES.tokens), "utf8")).split(",", 1);
  return { plan, caPem, token };
}

/** Brings the node the images that it has not, or has under the same name with other content. */
export async function importImages(cluster: Cluster, { store, images, onStep }: MakeOptions): Promise<void> {
  const present = new Map(
    (await cluster.ctr("images", "ls")).split("\n").map((line) => {
      const [name = "", , digest = ""] = line.split(/\s+/);
      return [name, digest] as const;
    }),
  );
  const lacking = images.filter(({ references, manifest }) =>
    references.some((name) => present.get(name) !== manifest.digest),
  );
  if (lacking.length === 0) return;
  const { ctr } = await ensureTools(["ctr"]);
  const args = ["--address", FILES.containerdSocket, "--namespace", "k8s.io", "images", "import", "-"];
  const child = spawn("nsenter", [...cluster.node.entering, "--", ctr, ...args], { stdio: ["pipe", "ignore", "pipe"] });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const ended = once(child, "close") as Promise<[number | null]>;
  const [[code]] = await Promise.all([
    ended,
    pipeline(Readable.from(store.archiveOf(lacking)), child.stdin).catch(() => undefined),
  ]);
  if (code !== 0) throw new MeshError("failed_precondition", `images cannot be imported: ${errors.trim()}`);
  onStep(cluster.name, `${lacking.length} images imported`);
}

async function untilReady(cluster: Cluster): Promise<void> {
  const condition = '{.status.conditions[?(@.type=="Ready")].status}';
  const args = ["get", "node", cluster.plan.nodeName, "--output", `jsonpath=${condition}`];
  await eventually(`node of ${cluster.name} ready`, async () => (await cluster.kubectl(args)) === "True");
  await eventually(`accounts of ${cluster.name}`, () => cluster.kubectl(["get", "serviceaccount", "default"]));
}
