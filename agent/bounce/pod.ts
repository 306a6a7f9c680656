import type { KubeObject } from "../../common/kube/resource-type.ts";

/** What controls a pod and makes a new one in its place. */
export interface Controller {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

/** A pod, as far as a restart reads it. */
export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Whole seconds, by the API server's clock. */
  readonly createdMs: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly controller: Controller | undefined;
  readonly ready: boolean;
  readonly terminating: boolean;
  /** undefined: it has no proxy of Istio. */
  readonly proxy: ProxyFacts | undefined;
}

/** A pod's proxy, and which istiod it is of. */
export interface ProxyFacts {
  readonly isGateway: boolean;
  /** Host that signs its certificates: "istiod-canary.istio-system.svc". */
  readonly authority: string | undefined;
  /** undefined where the pod names none. */
  readonly revision: string | undefined;
}

interface Container {
  readonly name?: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name?: string; readonly value?: string }[];
}

interface Pod extends KubeObject {
  readonly metadata: KubeObject["metadata"] & {
    readonly ownerReferences?: readonly (Partial<Controller> & { readonly controller?: boolean })[];
  };
  readonly spec?: { readonly containers?: readonly Container[]; readonly initContainers?: readonly Container[] };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { readonly type?: string; readonly status?: string }[];
  };
}

/** Name of the container in all of Istio's templates, of sidecars and of gateways. */
const PROXY = "istio-proxy";
/** First words of pilot-agent's command line that stand for a gateway. */
const GATEWAY_ROLES = ["router", "waypoint"];
const REVISION = "istio.io/rev";

/** Reads a pod; undefined for one that has ended, or that is none. */
export function readPod(object: KubeObject): PodFacts | undefined {
  const { metadata, status } = object as Pod;
  if (status?.phase === "Succeeded" || status?.phase === "Failed") return undefined;
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    uid: metadata.uid ?? "",
    createdMs: Date.parse(metadata.creationTimestamp ?? ""),
    labels: metadata.labels ?? {},
    controller: controllerOf(object),
    ready: status?.conditions?.some(({ type, status: value }) => type === "Ready" && value === "True") ?? false,
    terminating: metadata.deletionTimestamp !== undefined,
    proxy: proxyOf(object),
  };
}

function controllerOf({ metadata }: Pod): Controller | undefined {
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
  if (!owner) return undefined;
  const { apiVersion = "", kind = "", name = "", uid = "" } = owner;
  return { apiVersion, kind, name, uid };
}

function proxyOf({ metadata, spec }: Pod): ProxyFacts | undefined {
  // A native sidecar stands among the init containers.
  const containers = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])];
  const proxy = containers.find(({ name }) => name === PROXY);
  if (!proxy) return undefined;
  const { args = [], env = [] } = proxy;
  const address = env.find(({ name }) => name === "CA_ADDR")?.value;
  return {
    isGateway: GATEWAY_ROLES.some((role) => args.slice(0, 2).includes(role)),
    authority: address?.replace(/:\d+$/, ""),
    revision: metadata.annotations?.[REVISION] ?? metadata.labels?.[REVISION],
  };
}
