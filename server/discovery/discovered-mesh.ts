import { createHash } from "node:crypto";
import type { IngressGateway, MeshSpec } from "../../common/api/discovery.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { printableLine } from "../../common/runtime/printable.ts";
import { clip } from "../../common/session/bounds.ts";
import type {
  DiscoveredMesh,
  Discovery,
  IngressGateway as WireGateway,
} from "../../proto/gen/discovery/v1/discovery.ts";

/** Meshes of one cluster; more are refused. */
const MAX_MESHES = 50;
/** Bounds of what one agent may have written into a Mesh. */
const MAX_LABELS = 64;
const MAX_LABEL = 317;
const MAX_GATEWAYS = 32;
const MAX_TEXT = 253;
/** A name of at most so many characters is a label's value as well. */
const MAX_NAME = 63;
const HASH_CHARACTERS = 10;

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const DNS_SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const TRUST_DOMAIN = /^[A-Za-z0-9._-]{1,253}$/;

/** What an agent found, cut to size. */
export interface Found {
  /** By the name of the Mesh. */
  readonly specs: ReadonlyMap<string, MeshSpec>;
  /** What was not taken, one sentence each. */
  readonly refused: readonly string[];
}

/** Who sent a report, by the certificate and never by the report. */
export interface Reporter {
  readonly cluster: string;
  /** Names of all registered clusters. */
  readonly clusters: Iterable<string>;
}

/** Reads a report. What is wrong in it is refused by itself. */
export function readDiscovery({ meshes }: Discovery, reporter: Reporter): Found {
  const specs = new Map<string, MeshSpec>();
  const refused =
    meshes.length > MAX_MESHES ? [`${meshes.length} meshes were found, at most ${MAX_MESHES} are taken`] : [];
  for (const each of meshes.slice(0, MAX_MESHES)) {
    try {
      const spec = meshSpec(each, reporter.cluster);
      const own = meshName(each, reporter);
      if (specs.has(own)) refused.push(`Mesh ${own} was found twice`);
      else specs.set(own, spec);
    } catch (error) {
      refused.push(MeshError.from(error).message);
    }
  }
  return { specs, refused };
}

/**
 * Name of the Mesh for an istiod of a cluster: `<deployment>-<namespace>-<cluster>`, as the reference makes it. What is too
 * long, or could be meant for the cluster "a-b" and comes from the cluster "b", is cut and ends in a hash of the whole.
 */
export function meshName({ deployment, namespace }: Pick<DiscoveredMesh, "deployment" | "namespace">, by: Reporter) {
  const { cluster, clusters } = by;
  const plain = [deployment, namespace, cluster].join("-").replaceAll(".", "-");
  const isAnothers = [...clusters].some((other) => other.endsWith(`-${cluster}`) && plain.endsWith(`-${other}`));
  if (plain.length <= MAX_NAME && !isAnothers) return plain;
  const whole = JSON.stringify([deployment, namespace, cluster]);
  const hash = createHash("sha256").update(whole).digest("hex").slice(0, HASH_CHARACTERS);
  return `${plain.slice(0, MAX_NAME - 1 - HASH_CHARACTERS).replace(/-+$/, "")}-${hash}`;
}

/**
 * The Mesh's spec for what an agent found. Throws `invalid_argument` for what cannot be the name of anything, since it
 * was not found in a cluster; the rest is cut to size.
 */
function meshSpec(found: DiscoveredMesh, cluster: string): MeshSpec {
  const { namespace, deployment, trustDomain, serviceAccount, rootNamespace, agentNamespace } = found;
  const [version, region] = [text(found.version), text(found.region)];
  return {
    istio: {
      installation: {
        namespace: name("namespace", namespace, DNS_LABEL),
        cluster,
        podLabels: labels(found.podLabels),
        ...(version !== "" && { version }),
        ...(region !== "" && { region }),
        deployment: name("deployment", deployment, DNS_SUBDOMAIN),
      },
      ...(trustDomain !== "" && { trustDomain: name("trust domain", trustDomain, TRUST_DOMAIN) }),
      ...(serviceAccount !== "" && {
        istiodServiceAccount: name("service account", serviceAccount, DNS_SUBDOMAIN),
      }),
      ingressGateways: found.ingressGateways.slice(0, MAX_GATEWAYS).map(gateway),
      smartDnsProxyingEnabled: found.smartDnsProxyingEnabled,
      ...(rootNamespace !== "" && { rootNamespace: name("root namespace", rootNamespace, DNS_LABEL) }),
    },
    ...(agentNamespace !== "" && {
      agentInfo: { agentNamespace: name("agent namespace", agentNamespace, DNS_LABEL) },
    }),
  };
}

function gateway({ externalAddress, ...told }: WireGateway): IngressGateway {
  return {
    name: name("gateway", told.name, DNS_SUBDOMAIN),
    namespace: name("gateway's namespace", told.namespace, DNS_LABEL),
    workloadLabels: labels(told.workloadLabels),
    ...(externalAddress?.$case === "dnsName" && { dnsName: text(externalAddress.value) }),
    ...(externalAddress?.$case === "ip" && { ip: text(externalAddress.value) }),
    ...(told.externalTlsPort > 0 && { externalTlsPort: told.externalTlsPort }),
    ...(told.tlsContainerPort > 0 && { tlsContainerPort: told.tlsContainerPort }),
  };
}

function name(what: string, value: string, form: RegExp): string {
  if (form.test(value)) return value;
  throw new MeshError("invalid_argument", `${what} "${text(value)}" of a discovered mesh is none`);
}

const text = (value: string): string => clip(printableLine(value), MAX_TEXT);

function labels(told: Readonly<Record<string, string>>): Record<string, string> {
  const sound = Object.entries(told).filter(([key, value]) => key.length <= MAX_LABEL && value.length <= MAX_NAME);
  return Object.fromEntries(sound.sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, MAX_LABELS));
}
