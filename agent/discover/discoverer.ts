import { Discovery } from "../../proto/gen/discovery/v1/discovery.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import { Collection, type CollectionOptions } from "../../common/kube/collection.ts";
import type { ResourceType } from "../../common/kube/resource-type.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import type { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { runTasks, type Task } from "../../common/runtime/tasks.ts";
import { type ClusterNode, readNode } from "./cluster-node.ts";
import { type GatewayService, readGatewayService } from "./gateway-service.ts";
import { type Istiod, readIstiod } from "./istiod-deployment.ts";
import { MeshConfigs } from "./mesh-configs.ts";
import { divide, type LeftOut, type Reading } from "./reading.ts";
import { translate } from "./translate.ts";

export interface DiscovererOptions {
  readonly client: KubeClient;
  /** The agent's own, which it reports with each mesh. */
  readonly agentNamespace: string;
  /** Where it tells the meshes: once everything was read that can be, then on each change of what is reported. */
  readonly discovery: Latest<Discovery>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Changes this close together become one report: an installation writes object by object. */
const QUIET_MS = 100;

const DEPLOYMENTS: ResourceType = { apiVersion: "apps/v1", kind: "Deployment", plural: "deployments" };
const SERVICES: ResourceType = { apiVersion: "v1", kind: "Service", plural: "services" };
const NODES: ResourceType = { apiVersion: "v1", kind: "Node", plural: "nodes" };

/** Finds the meshes of a cluster by watching its API server. Holds of it what it reports and no more. */
export class Discoverer {
  /** The istiods, reported or not: what a mesh lacks does not keep its istiod from its certificate. */
  readonly istiods = new Latest<readonly Istiod[]>();
  /** What is not reported, and why. */
  readonly leftOut = new Latest<readonly LeftOut[]>([]);
  readonly #options: DiscovererOptions;
  readonly #deployments: Collection<Reading<Istiod>>;
  readonly #services: Collection<Reading<GatewayService>>;
  readonly #nodes: Collection<ClusterNode>;
  readonly #meshConfigs: MeshConfigs;

  constructor(options: DiscovererOptions) {
    this.#options = options;
    const { agentNamespace: _, discovery: __, ...common } = options;
    const follow = <T>(type: ResourceType, read: CollectionOptions<T>["read"]): Collection<T> =>
      new Collection({ ...common, type, read });
    this.#deployments = follow(DEPLOYMENTS, readIstiod);
    this.#services = follow(SERVICES, readGatewayService);
    this.#nodes = follow(NODES, readNode);
    this.#meshConfigs = new MeshConfigs(common);
  }

  /** Watches until `signal` is aborted. Every fault is waited out; what was found stays meanwhile. */
  async run(signal: AbortSignal): Promise<void> {
    const collections = [this.#deployments, this.#services, this.#nodes];
    const follow = collections.map((each, index): [string, Task] => [`collection ${index}`, (stop) => each.run(stop)]);
    await runTasks(signal, {
      ...Object.fromEntries(follow),
      istiods: (stop) => this.#followIstiods(stop),
      "mesh configurations": (stop) => this.#meshConfigs.run(this.istiods, stop),
      report: (stop) => this.#report(stop),
    });
  }

  async #followIstiods(signal: AbortSignal): Promise<void> {
    for await (const _ of this.#deployments.changes.watch(signal)) {
      this.istiods.set(divide(this.#deployments.values ?? []).values);
    }
  }

  async #report(signal: AbortSignal): Promise<void> {
    const collections = [this.#deployments, this.#services, this.#nodes];
    const cells = collections.flatMap(({ changes, fault }): Latest<unknown>[] => [changes, fault]);
    for await (const _ of Latest.changes([...cells, this.#meshConfigs.changes], signal)) {
      await this.#options.clock.sleep(QUIET_MS, signal).catch(() => undefined);
      if (!signal.aborted) this.#publish();
    }
  }

  #publish(): void {
    const deployments = this.#deployments.values;
    const services = valuesOrRefused(this.#services);
    const nodes = valuesOrRefused(this.#nodes);
    const meshConfigs = this.#meshConfigs.values(divide(deployments ?? []).values);
    // Nothing is reported before all is known: what is merely not read yet would look as if it were gone.
    if (!deployments || !services || !nodes || !meshConfigs) return;
    const { agentNamespace, discovery: told, log } = this.#options;
    const { discovery, leftOut } = translate({ agentNamespace, deployments, meshConfigs, services, nodes });
    this.#tellLeftOut(leftOut);
    const before = told.value;
    if (before && Buffer.compare(encode(before), encode(discovery)) === 0) return;
    log.info("meshes discovered", { meshes: discovery.meshes.map(nameOf) });
    told.set(discovery);
  }

  #tellLeftOut(leftOut: readonly LeftOut[]): void {
    const known = new Set(this.leftOut.value?.map(({ object, reason }) => `${object} ${reason}`));
    for (const { object, reason } of leftOut) {
      if (!known.has(`${object} ${reason}`)) this.#options.log.info("left out of discovery", { object, reason });
    }
    this.leftOut.set(leftOut);
  }
}

/** Nothing where the right to read is missing, for a mesh is worth reporting without its gateways, too. */
function valuesOrRefused<T>({ values, fault }: Collection<T>): readonly T[] | undefined {
  return values ?? (isRefusal(fault.value) ? [] : undefined);
}

const isRefusal = (fault: MeshError | null | undefined): boolean => fault?.code === "permission_denied";

const encode = (discovery: Discovery): Uint8Array => Discovery.encode(discovery).finish();
const nameOf = ({ namespace, deployment }: Discovery["meshes"][number]): string => `${namespace}/${deployment}`;
