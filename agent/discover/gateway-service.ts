import type { KubeObject } from "../../common/kube/resource-type.ts";
import { labelledRevision } from "./istiod-deployment.ts";
import { leftOut, read, type Reading } from "./reading.ts";

/** A Service in front of an Istio gateway, with the port that other clusters connect to. */
export interface GatewayService {
  readonly namespace: string;
  readonly name: string;
  /** Revision that its labels name; undefined when they name none. */
  readonly revision: string | undefined;
  readonly workloadLabels: Readonly<Record<string, string>>;
  readonly type: string;
  readonly port: number;
  readonly containerPort: number;
  readonly nodePort: number | undefined;
  readonly loadBalancer: { readonly ip?: string; readonly hostname?: string } | undefined;
  readonly externalIp: string | undefined;
}

interface ServicePort {
  readonly name?: string;
  readonly port: number;
  readonly targetPort?: number | string;
  readonly nodePort?: number;
}

interface Service extends KubeObject {
  readonly spec?: {
    readonly type?: string;
    readonly selector?: Readonly<Record<string, string>>;
    readonly ports?: readonly ServicePort[];
    readonly externalIPs?: readonly string[];
  };
  readonly status?: {
    readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string; readonly hostname?: string }[] };
  };
}

/** Istio's charts number it so; the reference looks for the name. */
const TLS_PORT = 15443;
const TLS_PORT_NAME = "tls";

/**
 * Reads a Service: a gateway's when it selects pods by a label `istio` that names a gateway, as "ingressgateway" and
 * "eastwestgateway" do. undefined for any other one.
 */
export function readGatewayService(object: KubeObject): Reading<GatewayService> | undefined {
  const { metadata, spec, status } = object as Service;
  const { name, namespace = "", labels } = metadata;
  const { selector = {}, type = "ClusterIP", externalIPs } = spec ?? {};
  if (!selector["istio"]?.includes("gateway")) return undefined;
  const ports = tlsPorts(spec?.ports ?? []);
  if (typeof ports === "string") return leftOut(`Service ${namespace}/${name}`, ports);
  return read({
    namespace,
    name,
    revision: labelledRevision(labels, selector),
    workloadLabels: selector,
    type,
    ...ports,
    loadBalancer: status?.loadBalancer?.ingress?.[0],
    externalIp: externalIPs?.[0],
  });
}

/** The port that other clusters connect to, or why there is none. */
function tlsPorts(ports: readonly ServicePort[]): Pick<GatewayService, "port" | "containerPort" | "nodePort"> | string {
  const found = ports.find(({ name }) => name === TLS_PORT_NAME) ?? ports.find(({ port }) => port === TLS_PORT);
  if (!found) return `no port is named ${TLS_PORT_NAME} or is ${TLS_PORT}`;
  const { port, targetPort, nodePort } = found;
  if (typeof targetPort === "string") return `targetPort of port ${port} is a name, not a number`;
  // An explicit 0 is how some write "the same".
  return { port, containerPort: targetPort || port, nodePort };
}
