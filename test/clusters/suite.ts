import { after, before } from "node:test";
import type { Cluster } from "./cluster.ts";
import { fleetDown, type Fleet } from "./fleet.ts";
import { downWhenWeEnd } from "./keeper.ts";
import { skipWithoutClusters } from "./needs.ts";
import { findFleet } from "./plan.ts";
import { fleetUp, type Stage } from "./stages.ts";

/** Names the fleet that a test file uses; whoever sets it takes that fleet down. */
export const FLEET_VARIABLE = "MESH_RELAY_FLEET";

/** How many clusters a suite needs that does not say so. */
const CLUSTERS = 2;

/** A machine may be busy, and this one has to start two clusters. */
const UP_TIMEOUT_MS = 300_000;

export interface SuiteClusters {
  /** For the `skip` option of each test of the file. */
  readonly skip: string | false;
  /** Only inside of tests. */
  readonly fleet: () => Fleet;
  /** The cluster of that number, from 1. Only inside of tests. */
  readonly cluster: (number: number) => Cluster;
}

export interface SuiteOptions {
  /** How far the clusters must be at least; they may be further. */
  readonly until: Stage;
  /** How many clusters the file needs; a fleet that it is given may have more. */
  readonly count?: number;
  /** Runs once when the clusters are up. A `before` of node's runner would not wait for them. */
  readonly setUp?: (fleet: Fleet) => Promise<void>;
  /** Runs once after the last test, also when `setUp` or a test has failed: takes away what the file made. */
  readonly tearDown?: (fleet: Fleet) => Promise<void>;
}

/**
 * To be called once at the top of a test file. Before its first test the clusters are brought up as far as asked: those
 * named by MESH_RELAY_FLEET, which stay up, or else some of its own, which are taken down after its last test, or
 * when this process dies.
 */
export function useClusters({ until, count = CLUSTERS, setUp, tearDown }: SuiteOptions): SuiteClusters {
  const skip = skipWithoutClusters();
  const given = process.env[FLEET_VARIABLE] ?? "";
  const name = given === "" ? `test-${process.pid}` : given;
  let fleet: Fleet | undefined;
  if (skip === false) {
    let keeper: AsyncDisposable | undefined;
    before(
      async () => {
        if (given === "") keeper = await downWhenWeEnd(name);
        else endWithParent();
        const shared = given === "" ? count : await sharedCount(given, count);
        fleet = await fleetUp({ name, count: shared, until, onStep: () => undefined });
        await setUp?.(fleet);
      },
      { timeout: UP_TIMEOUT_MS },
    );
    after(async () => {
      try {
        if (fleet) await tearDown?.(fleet);
      } finally {
        if (given === "") await fleetDown(name);
        await keeper?.[Symbol.asyncDispose]();
      }
    });
  }
  const running = (): Fleet => {
    if (!fleet) throw new Error("the clusters are there inside of tests only");
    return fleet;
  };
  const cluster = (number: number): Cluster => {
    const found = running().clusters[number - 1];
    if (!found) throw new Error(`there is no cluster ${number}`);
    return found;
  };
  return { skip, fleet: running, cluster };
}

/** A fleet that others use too has what the most demanding of them needs, or what it was brought up with. */
async function sharedCount(name: string, count: number): Promise<number> {
  const { clusters = { length: CLUSTERS } } = (await findFleet(name)) ?? {};
  return Math.max(count, clusters.length);
}

/** A test run that was killed is tidied up behind: this process must not go on making what is being taken down. */
function endWithParent(): void {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.kill(process.pid, "SIGKILL");
  }, 500).unref();
}
