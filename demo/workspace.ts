import { mkdirSync } from "node:fs";
import { mkdir, mkdtemp, readFile, realpath, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseDocument } from "yaml";
import { writeFileAtomic } from "../common/runtime/files.ts";
import { enterReaped, leaveReaped } from "../test/harness/reaper.ts";

const MEMORY = "/dev/shm";
const EXAMPLES = new URL("../examples/", import.meta.url);
/** The example names the meshes of so many clusters. */
const EXAMPLE_CLUSTERS = 2;

/** Directories of one run. Both are gone when it is disposed, or at the latest with this process. */
export interface Workspace extends AsyncDisposable {
  /** What the user edits and reads: source/ and logs/. Holds no secret. */
  readonly work: string;
  /** The server's source directory. */
  readonly source: string;
  readonly logs: string;
  /** Keys, tokens and state: in memory where the machine has a file system for that, mode 0700. */
  readonly secrets: string;
  /** True when `secrets` lies in memory. */
  readonly inMemory: boolean;
}

/** Makes the directories, and enters them at the reaper. */
export async function createWorkspace(): Promise<Workspace> {
  const inMemory = (await stat(MEMORY).catch(() => undefined))?.isDirectory() ?? false;
  const temporary = await realpath(tmpdir());
  const work = await reapedFolder(temporary);
  const secrets = await reapedFolder(inMemory ? MEMORY : temporary);
  const [source, logs] = [join(work, "source"), join(work, "logs")];
  for (const path of [source, logs]) await mkdir(path, { mode: 0o700 });
  return {
    work,
    source,
    logs,
    secrets,
    inMemory,
    async [Symbol.asyncDispose]() {
      for (const path of [secrets, work]) {
        await rm(path, { recursive: true, force: true, maxRetries: 5 });
        await leaveReaped("folder", path);
      }
    },
  };
}

async function reapedFolder(parent: string): Promise<string> {
  const path = await mkdtemp(join(parent, "mesh-relay-demo-"));
  await enterReaped("folder", path);
  return path;
}

/** Makes a directory of mode 0700 in the secret part and returns its path. */
export function secretDirectory({ secrets }: Workspace, ...names: string[]): string {
  const path = join(secrets, ...names);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}

const meshName = (cluster: string): string => `istiod-istio-system-${cluster}`;

/** Writes what discovery would find, a KubernetesCluster and a Mesh for each cluster, after the examples of cluster-1. */
export async function writeMeshes({ source }: Workspace, clusters: readonly string[]): Promise<void> {
  for (const kind of ["kubernetes", "mesh"]) {
    const template = await readFile(new URL(`${kind}-cluster-1.yaml`, EXAMPLES), "utf8");
    for (const cluster of clusters) {
      await writeFileAtomic(join(source, `${kind}-${cluster}.yaml`), template.replaceAll("cluster-1", cluster), 0o644);
    }
  }
}

/**
 * Puts the guide's VirtualMesh into the source directory and returns its path: byte for byte, unless there is another
 * number of clusters than it names; then its list of meshes alone is another.
 */
export async function writeVirtualMesh({ source }: Workspace, clusters: readonly string[]): Promise<string> {
  const example = await readFile(new URL("virtual-mesh.yaml", EXAMPLES));
  const path = join(source, "virtual-mesh.yaml");
  await writeFileAtomic(path, clusters.length === EXAMPLE_CLUSTERS ? example : withMeshes(example, clusters), 0o644);
  return path;
}

function withMeshes(example: Buffer, clusters: readonly string[]): string {
  const document = parseDocument(example.toString("utf8"));
  document.setIn(
    ["spec", "meshes"],
    clusters.map((cluster) => ({ name: meshName(cluster), namespace: "gloo-mesh" })),
  );
  return document.toString();
}
