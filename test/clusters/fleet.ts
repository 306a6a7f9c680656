import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { MeshError } from "../../common/runtime/errors.ts";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { withLock } from "../tools/lock.ts";
import { cacheDirectory } from "../tools/registry.ts";
import { cgroupsNamed, removeCgroup } from "./cgroups.ts";
import { Cluster } from "./cluster.ts";
import { assembleForeign } from "./images/foreign.ts";
import { assembleOurs } from "./images/ours.ts";
import { ImageStore, type Image } from "./images/store.ts";
import { accessTo, importImages, makeCluster, removeCluster, type OnStep } from "./make.ts";
import { linksNamed, makeBridge, removeLink } from "./network.ts";
import { Node } from "./node.ts";
import { allFleets, claimFleet, findFleet, fleetsDirectory, PREFIX, type FleetPlan } from "./plan.ts";
import { kubeconfigOf } from "./programs.ts";

/** Running clusters that see each other. */
export interface Fleet {
  readonly plan: FleetPlan;
  /** A context for each cluster, by its name. */
  readonly kubeconfig: string;
  readonly clusters: readonly Cluster[];
}

export interface FleetOptions {
  readonly name: string;
  /** How many clusters. */
  readonly count: number;
  readonly onStep: OnStep;
}

/** Layers of programs that were built since are of use to another checkout, for a while. */
const UNUSED_MAX_AGE_MS = 7 * 24 * 3_600_000;

/** What is on each cluster after `baseUp`: nothing but Kubernetes itself, and all images. */
export async function baseUp({ name, count, onStep }: FleetOptions): Promise<Fleet> {
  const images = assembleImages().then((all) => {
    onStep("", `${all.length} images at hand`);
    return all;
  });
  const plan = await locked(async () => {
    const fleet = await claimFleet(name, count);
    await makeBridge(fleet);
    return fleet;
  });
  const options = { fleet: plan, store: imageStore(), images: await images, onStep };
  const clusters = await Promise.all(plan.clusters.map((cluster) => makeCluster(cluster, options)));
  const access = await Promise.all(plan.clusters.map(accessTo));
  await writeFileAtomic(plan.kubeconfig, JSON.stringify(kubeconfigOf(access)));
  return { plan, kubeconfig: plan.kubeconfig, clusters };
}

/** The clusters of a fleet that is up; `failed_precondition` when it is not, or not whole. */
export async function attach(name: string): Promise<Fleet> {
  const hint = "bring it up: npm run clusters:up";
  const plan = await findFleet(name);
  if (!plan) throw new MeshError("failed_precondition", `there is no fleet ${name}`, { hint });
  const clusters = await Promise.all(
    plan.clusters.map(async (cluster) => {
      const node = await Node.find(cluster);
      if (!node) throw new MeshError("failed_precondition", `${cluster.name} of ${name} does not run`, { hint });
      return new Cluster(node);
    }),
  );
  return { plan, kubeconfig: plan.kubeconfig, clusters };
}

/** Takes a fleet down; with nothing of that name it does nothing. */
export async function fleetDown(name: string): Promise<void> {
  const plan = await findFleet(name);
  if (!plan) return;
  await Promise.all(plan.clusters.map(removeCluster));
  await removeLink(plan.bridge);
  // Last: the record is how the next attempt finds what this one has left.
  await rm(plan.directory, { recursive: true, force: true });
}

/** Takes down all fleets, also those of other users of this machine, and what is left of runs without a record. */
export async function everythingDown(): Promise<void> {
  for (const { name } of await allFleets()) await fleetDown(name);
  await leftoversDown(PREFIX);
  await rm(fleetsDirectory(), { recursive: true, force: true });
}

/** Ends all processes in cgroups, and removes cgroups and links, whose names begin so. */
export async function leftoversDown(prefix: string): Promise<void> {
  for (const name of await cgroupsNamed(`${prefix}-`)) await removeCgroup(name);
  for (const name of await linksNamed(prefix)) await removeLink(name);
}

/** Brings running clusters the images of ours as dist/ has them now. Pods that run keep theirs until they restart. */
export async function reloadImages({ plan, clusters }: Fleet, onStep: OnStep): Promise<Image[]> {
  const store = imageStore();
  const images = await assembleOurs(store);
  await Promise.all(clusters.map((cluster) => importImages(cluster, { fleet: plan, store, images, onStep })));
  return images;
}

/** Where layers of images are kept between runs. */
export const imageStore = (): ImageStore => new ImageStore(join(dirname(cacheDirectory()), "images"));

/** All images: ours, and those of everything else. */
export async function assembleImages(): Promise<Image[]> {
  const store = imageStore();
  const images = (await Promise.all([assembleForeign(store), assembleOurs(store)])).flat();
  await store.removeOthers(images, UNUSED_MAX_AGE_MS);
  return images;
}

function locked<T>(work: () => Promise<T>): Promise<T> {
  const lock = join(dirname(cacheDirectory()), "clusters.lock");
  return withLock(lock, work, { signal: AbortSignal.timeout(60_000), onWait: () => undefined });
}
