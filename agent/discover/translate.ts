import type { DiscoveredMesh, Discovery, IngressGateway } from "../../proto/gen/discovery/v1/discovery.ts";
import { type ClusterNode, nodeAddress, regionOf } from "./cluster-node.ts";
import type { GatewayService } from "./gateway-service.ts";
import { type Istiod, meshConfigName } from "./istiod-deployment.ts";
import { DEFAULT_MESH_CONFIG, type MeshConfig } from "./mesh-config.ts";
import { divide, type LeftOut, leftOut, read, type Reading } from "./reading.ts";

/** What the agent sees of its cluster. */
export interface ClusterView {
  readonly agentNamespace: string;
  readonly deployments: readonly Reading<Istiod>[];
  /** By `meshConfigKey`; undefined for a ConfigMap that is not there. */
  readonly meshConfigs: ReadonlyMap<string, Reading<MeshConfig> | undefined>;
  readonly services: readonly Reading<GatewayService>[];
  readonly nodes: readonly ClusterNode[];
}

export interface Translation {
  readonly discovery: Discovery;
  readonly leftOut: readonly LeftOut[];
}

/** "namespace/name" of the ConfigMap with an istiod's mesh configuration. */
export const meshConfigKey = (istiod: Istiod): string => `${istiod.namespace}/${meshConfigName(istiod)}`;

/**
 * What is reported of the cluster, and what is not and why. One object that cannot be read leaves out what depends on it
 * and nothing else. Without its ConfigMap an istiod is reported with the values that it then takes itself.
 */
export function translate(view: ClusterView): Translation {
  const { values: istiods, leftOut: withoutIstiod } = divide(view.deployments);
  const { values: services, leftOut: withoutPort } = divide(view.services);
  const meshes = divide(istiods.map((istiod) => meshOf(istiod, view)));
  const gateways = divide(services.map((service) => gatewayOf(service, istiods, view.nodes)));
  const discovered = meshes.values.map((mesh) => ({
    ...mesh,
    ingressGateways: gateways.values
      .filter(({ istiod }) => istiod.namespace === mesh.namespace && istiod.name === mesh.deployment)
      .map(({ gateway }) => gateway)
      .sort(byPlace),
  }));
  return {
    discovery: { meshes: discovered.sort((a, b) => byText(placeOf(a), placeOf(b))) },
    leftOut: [...withoutIstiod, ...meshes.leftOut, ...withoutPort, ...gateways.leftOut],
  };
}

function meshOf(istiod: Istiod, { agentNamespace, meshConfigs, nodes }: ClusterView): Reading<DiscoveredMesh> {
  const config = meshConfigs.get(meshConfigKey(istiod)) ?? read(DEFAULT_MESH_CONFIG);
  if (config.kind === "left out") {
    return leftOut(`Deployment ${istiod.namespace}/${istiod.name}`, `${config.object}: ${config.reason}`);
  }
  const { trustDomain, rootNamespace, smartDnsProxying } = config.value;
  return read({
    namespace: istiod.namespace,
    deployment: istiod.name,
    podLabels: { ...istiod.podLabels },
    version: istiod.version,
    revision: istiod.revision,
    region: regionOf(nodes),
    trustDomain,
    serviceAccount: istiod.serviceAccount,
    ingressGateways: [],
    smartDnsProxyingEnabled: smartDnsProxying,
    rootNamespace: rootNamespace ?? istiod.namespace,
    agentNamespace,
  });
}

interface PlacedGateway {
  readonly istiod: Istiod;
  readonly gateway: IngressGateway;
}

function gatewayOf(
  service: GatewayService,
  istiods: readonly Istiod[],
  nodes: readonly ClusterNode[],
): Reading<PlacedGateway> {
  const refuse = (reason: string): Reading<never> => leftOut(`Service ${service.namespace}/${service.name}`, reason);
  const istiod = istiodOfGateway(service, istiods);
  if (!istiod) return refuse(`none of ${istiods.length} istiods, or more than one, is of its revision`);
  const place = externalPlace(service, nodes);
  if (typeof place === "string") return refuse(place);
  const { name, namespace, workloadLabels, containerPort } = service;
  const gateway = { name, namespace, workloadLabels: { ...workloadLabels }, tlsContainerPort: containerPort, ...place };
  return read({ istiod, gateway });
}

/** The only istiod; else the one of the revision, and where several have it, the one in the Service's namespace. */
function istiodOfGateway(service: GatewayService, istiods: readonly Istiod[]): Istiod | undefined {
  if (istiods.length === 1) return istiods[0];
  const ofRevision = istiods.filter(({ revision }) => revision === (service.revision ?? ""));
  return ofRevision.length === 1 ? ofRevision[0] : ofRevision.find(({ namespace }) => namespace === service.namespace);
}

type ExternalPlace = Pick<IngressGateway, "externalAddress" | "externalTlsPort">;

/** Where the gateway is reached from outside of the cluster, or why that cannot be told. */
function externalPlace(service: GatewayService, nodes: readonly ClusterNode[]): ExternalPlace | string {
  const { type, loadBalancer, externalIp, nodePort, port } = service;
  const ip = (value: string, externalTlsPort: number): ExternalPlace => ({
    externalAddress: { $case: "ip", value },
    externalTlsPort,
  });
  if (type === "NodePort" && nodePort !== undefined) {
    const address = nodeAddress(nodes);
    return address === undefined ? "no ready node has an address" : ip(address, nodePort);
  }
  if (type === "LoadBalancer" && loadBalancer?.ip) return ip(loadBalancer.ip, port);
  if (type === "LoadBalancer" && loadBalancer?.hostname) {
    return { externalAddress: { $case: "dnsName", value: loadBalancer.hostname }, externalTlsPort: port };
  }
  if (externalIp) return ip(externalIp, port);
  return type === "LoadBalancer"
    ? "its load balancer has no address yet"
    : `type ${type} without externalIPs is not reached from outside`;
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const placeOf = ({ namespace, deployment }: DiscoveredMesh): string => `${namespace}/${deployment}`;
const byPlace = (a: IngressGateway, b: IngressGateway): number =>
  byText(`${a.namespace}/${a.name}`, `${b.namespace}/${b.name}`);
