import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { MeshError } from "../../common/runtime/errors.ts";
import { readFileIfExists, writeFileAtomic } from "../../common/runtime/files.ts";
import { cacheDirectory } from "../tools/registry.ts";

/** What people and tests call a fleet of clusters when they give it no name. */
export const DEFAULT_FLEET = "default";

/** Each has a bridge and a range of addresses of its own. */
const SLOTS = 20;

/** Where one cluster lies. Pure: everything follows from the fleet's slot and the cluster's number. */
export interface ClusterPlan {
  readonly number: number;
  /** Name of the cluster and of its context. */
  readonly name: string;
  readonly nodeName: string;
  /** All of its files, on the host. Inside its own mount namespace the same folder is `INSIDE`. */
  readonly directory: string;
  /** The host's end of the link to the node. */
  readonly link: string;
  /** Name of the folder below every controller that holds all processes of the cluster. */
  readonly cgroup: string;
  /** The same on the host and inside pods of all clusters. */
  readonly nodeAddress: string;
  readonly podRange: string;
  readonly serviceRange: string;
}

export interface FleetPlan {
  readonly name: string;
  readonly slot: number;
  readonly directory: string;
  /** Holds a context for each cluster, by its name. */
  readonly kubeconfig: string;
  readonly bridge: string;
  readonly hostAddress: string;
  readonly clusters: readonly ClusterPlan[];
}

/** The cluster's folder as its own programs see it: short, because a socket's path may have 107 bytes. */
export const INSIDE = "/run/cluster";

/** Folder of all fleets of this user. */
export const fleetsDirectory = (): string => join(dirname(cacheDirectory()), "clusters");

/** Every name begins so; `down` recognises by it what a killed run has left. */
export const PREFIX = "meshrelay";

/** Pure: the plan of a fleet of this many clusters. */
export function planFleet(name: string, slot: number, count: number, base = fleetsDirectory()): FleetPlan {
  const directory = join(base, name);
  const network = `10.${200 + slot}.0`;
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  return {
    name,
    slot,
    directory,
    kubeconfig: join(directory, "kubeconfig"),
    bridge: `${PREFIX}${slot}`,
    hostAddress: `${network}.1`,
    clusters: numbers.map((number) => ({
      number,
      name: `cluster-${number}`,
      nodeName: `cluster-${number}-node`,
      directory: join(directory, `cluster-${number}`),
      link: `${PREFIX}${slot}-${number}`,
      cgroup: `${PREFIX}-${slot}-${number}`,
      nodeAddress: `${network}.${10 + number}`,
      podRange: `10.${220 + number}.0.0/24`,
      serviceRange: `10.96.${number}.0/24`,
    })),
  };
}

interface FleetRecord {
  readonly slot: number;
  readonly count: number;
}

const recordFile = (name: string): string => join(fleetsDirectory(), name, "fleet.json");

/** The plan of a fleet that was made earlier and not taken down; undefined when there is none. */
export async function findFleet(name: string): Promise<FleetPlan | undefined> {
  const text = await readFileIfExists(recordFile(name));
  if (text === undefined) return undefined;
  const { slot, count } = JSON.parse(text) as FleetRecord;
  return planFleet(name, slot, count);
}

/** The fleet of that name, or a new one in the first free slot. To be called by one at a time (`withLock`). */
export async function claimFleet(name: string, count: number): Promise<FleetPlan> {
  const known = await findFleet(name);
  if (known) {
    if (known.clusters.length === count) return known;
    const have = `the fleet ${name} has ${known.clusters.length} clusters, not ${count}`;
    throw new MeshError("conflict", have, { hint: "take it down first: npm run clusters:down" });
  }
  const taken = new Set((await allFleets()).map(({ slot }) => slot));
  const slot = Array.from({ length: SLOTS }, (_, index) => index).find((each) => !taken.has(each) && isFree(each));
  if (slot === undefined) throw new MeshError("resource_exhausted", `all ${SLOTS} ranges of addresses are in use`);
  await writeFileAtomic(recordFile(name), JSON.stringify({ slot, count } satisfies FleetRecord));
  return planFleet(name, slot, count);
}

/** The fleets of this user that are not down. */
export async function allFleets(): Promise<FleetPlan[]> {
  const names = await readdir(fleetsDirectory()).catch(() => []);
  const found = await Promise.all(names.map(findFleet));
  return found.filter((fleet) => fleet !== undefined);
}

/** A range is in use where a route of this machine leads into it, whoever made it. */
function isFree(slot: number): boolean {
  return !routesOf(readFileSync("/proc/net/route", "utf8")).some((address) => address.startsWith(`10.${200 + slot}.`));
}

/** Pure: destinations of the table in /proc/net/route, which has them as hexadecimal numbers of this machine's order. */
export function routesOf(table: string): string[] {
  const rows = table.trim().split("\n").slice(1);
  return rows.map((row) => {
    const hex = row.split(/\s+/)[1] ?? "";
    return [...Buffer.from(hex, "hex").reverse()].join(".");
  });
}
