/** Where secrets could leak to on a cluster. */
import { readdir, readFile, statfs } from "node:fs/promises";
import { join } from "node:path";
import { MeshError } from "../../common/runtime/errors.ts";
import { readTexts, type Texts } from "../harness/secrets.ts";
import type { Cluster } from "./cluster.ts";
import { podsOf, type Pod } from "./judge.ts";
import { INSIDE } from "./plan.ts";

/**
 * All that the cluster stores, past the API server and by it, and what etcd's files keep of what was stored before; all that containers of ours have logged; and all their files
 * that are not in memory, those of containers that have ended too.
 */
export async function placesOf(cluster: Cluster): Promise<Texts> {
  const pods = await podsWithOurs(cluster);
  return {
    ...(await stored(cluster)),
    ...(await etcdFiles(cluster)),
    ...(await logs(cluster)),
    ...(await files(cluster, pods)),
  };
}

/** A container of ours that runs or has run. */
export interface OurContainer {
  readonly id: string;
  readonly name: string;
  /** What it has written over its image, as the host reaches it. */
  readonly written: string;
}

/** Every container of ours on the node. */
export async function ourContainers(cluster: Cluster): Promise<OurContainer[]> {
  const ids = (await cluster.ctr("containers", "ls", "--quiet")).split("\n").filter(Boolean);
  const all = await Promise.all(ids.map((id) => containerOf(cluster, id)));
  return all.filter((each) => each !== undefined);
}

const OURS = /^gcr\.io\/gloo-mesh\//;

async function containerOf(cluster: Cluster, id: string): Promise<OurContainer | undefined> {
  const text = await cluster.ctr("containers", "info", id).catch(unlessGone);
  if (text === undefined) return undefined;
  const info = JSON.parse(text) as ContainerInfo;
  if (!OURS.test(info.Image)) return undefined;
  const mounts = await cluster.ctr("snapshots", "mounts", "/x", info.SnapshotKey);
  const upper = /upperdir=([^,\s]+)/.exec(mounts)?.[1];
  if (upper === undefined) throw new Error(`no folder of container ${id}: ${mounts}`);
  return { id, name: info.Labels["io.kubernetes.container.name"] ?? "", written: cluster.node.path(upper) };
}

/** Kubelet takes containers away that have ended, also between two looks. */
function unlessGone(thrown: unknown): undefined {
  if (!/: not found$/m.test(MeshError.from(thrown).message)) throw thrown;
}

interface ContainerInfo {
  readonly Image: string;
  readonly SnapshotKey: string;
  readonly Labels: Readonly<Record<string, string>>;
}

/** Folder of a pod's volumes and of the files that kubelet makes for it, as the host reaches it. */
export const folderOf = (cluster: Cluster, { metadata }: Pod): string =>
  cluster.node.path(`${INSIDE}/kubelet/pods/${metadata.uid}`);

/** The pods that hold a container of ours. */
export async function podsWithOurs(cluster: Cluster): Promise<Pod[]> {
  return [...(await podsOf(cluster, "gloo-mesh")), ...(await podsOf(cluster, "istio-system", "app=istiod"))];
}

async function stored(cluster: Cluster): Promise<Texts> {
  const raw = (await cluster.dumpEtcd()).map(({ key, value }) => [`etcd ${key}`, value.toString("latin1")]);
  const texts: Record<string, string> = Object.fromEntries(raw) as Record<string, string>;
  for (const kind of ["secrets", "configmaps"]) {
    texts[kind] = await cluster.kubectl(["get", kind, "--all-namespaces", "--output", "json"]);
  }
  return prefixed(cluster, texts);
}

/** Its log and its database hold older versions of objects too, and such as were deleted. */
async function etcdFiles(cluster: Cluster): Promise<Texts> {
  const folder = cluster.node.path(`${INSIDE}/etcd`);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const texts = files.map(async (file): Promise<[string, string]> => [
    `etcd file ${file.slice(folder.length + 1)}`,
    withoutEnd(await readFile(file)).toString("latin1"),
  ]);
  return prefixed(cluster, Object.fromEntries(await Promise.all(texts)));
}

/** etcd makes its logs 64 MB large before anything is in them. */
function withoutEnd(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}

/** Also of pods that are gone, as long as kubelet keeps them. */
async function logs(cluster: Cluster): Promise<Texts> {
  const folder = cluster.node.path(`${INSIDE}/pods`);
  const texts: Record<string, string> = {};
  for (const pod of await readdir(folder)) {
    for (const container of await readdir(join(folder, pod))) {
      if (!pod.startsWith("gloo-mesh_") && !container.startsWith("istiod-agent")) continue;
      for (const [path, text] of Object.entries(await readTexts(join(folder, pod, container)))) {
        texts[`log ${path.slice(folder.length + 1)}`] = text;
      }
    }
  }
  return prefixed(cluster, texts);
}

async function files(cluster: Cluster, pods: readonly Pod[]): Promise<Texts> {
  const folders = [
    ...(await ourContainers(cluster)).map(({ name, written }) => [`file of ${name}`, written] as const),
    ...pods.map((pod) => [`file of ${pod.metadata.name}`, folderOf(cluster, pod)] as const),
  ];
  const found = await Promise.all(
    folders.map(async ([what, folder]) =>
      (await filesOnDisk(folder)).map(async (path): Promise<[string, string]> => {
        const text = await readFile(path, "latin1").catch(() => "");
        return [`${what} ${path.slice(folder.length)}`, text];
      }),
    ),
  );
  return prefixed(cluster, Object.fromEntries(await Promise.all(found.flat())));
}

/** Magic number of a file system in memory (statfs). */
const TMPFS = 0x0102_1994;

/** The files below a folder but those on a file system in memory; links are not followed. */
async function filesOnDisk(folder: string): Promise<string[]> {
  if ((await statfs(folder)).type === TMPFS) return [];
  const entries = await readdir(folder, { withFileTypes: true });
  const nested = entries.map((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesOnDisk(path);
    return Promise.resolve(entry.isFile() ? [path] : []);
  });
  return (await Promise.all(nested)).flat();
}

const prefixed = ({ name }: Cluster, texts: Texts): Texts =>
  Object.fromEntries(Object.entries(texts).map(([what, text]) => [`${name}: ${what}`, text]));
