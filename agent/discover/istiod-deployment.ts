import type { KubeObject } from "../../common/kube/resource-type.ts";
import { leftOut, read, type Reading } from "./reading.ts";

/** A Deployment that runs istiod. */
export interface Istiod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly podLabels: Readonly<Record<string, string>>;
  /** Tag or digest of its image. */
  readonly version: string;
  /** "" for the default one. */
  readonly revision: string;
  readonly serviceAccount: string;
}

interface Container {
  readonly name?: string;
  readonly image?: string;
  readonly env?: readonly { readonly name?: string; readonly value?: string }[];
}

interface Deployment extends KubeObject {
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly template?: {
      readonly spec?: { readonly serviceAccountName?: string; readonly containers?: readonly Container[] };
    };
  };
}

/** The container's name in every Istio chart: it tells istiod where a mirror renamed the image. */
const DISCOVERY = "discovery";
const REVISION_LABEL = "istio.io/rev";

/**
 * Reads a Deployment: an istiod's when its name starts with "istiod" and it has Istio's discovery container. undefined
 * for one of another name, which nobody takes for an istiod.
 */
export function readIstiod(object: KubeObject): Reading<Istiod> | undefined {
  const { metadata, spec } = object as Deployment;
  const { name, namespace = "", uid = "" } = metadata;
  if (!name.startsWith("istiod")) return undefined;
  const { serviceAccountName, containers = [] } = spec?.template?.spec ?? {};
  const discovery = containers.find(isDiscovery);
  if (!discovery) {
    return leftOut(
      `Deployment ${namespace}/${name}`,
      `no container is named ${DISCOVERY} or has an image of istio's pilot`,
    );
  }
  return read({
    namespace,
    name,
    uid,
    podLabels: spec?.selector?.matchLabels ?? {},
    version: imageVersion(discovery.image ?? ""),
    revision: revisionOf(metadata, discovery),
    serviceAccount: serviceAccountName ?? "default",
  });
}

/** What istiod is told by its environment; labels and the name follow it in Istio's charts. */
function revisionOf({ name, labels }: KubeObject["metadata"], discovery: Container): string {
  return normalRevision(envOf(discovery, "REVISION") ?? labels?.[REVISION_LABEL] ?? name.slice("istiod-".length));
}

/** Revision "default" is another word for none. */
export const normalRevision = (revision: string): string => (revision === "default" ? "" : revision);

/** The revision that labels name, if they do. */
export function labelledRevision(...labels: readonly (Readonly<Record<string, string>> | undefined)[]) {
  const named = labels.find((each) => each?.[REVISION_LABEL])?.[REVISION_LABEL];
  return named === undefined ? undefined : normalRevision(named);
}

/** Name of the ConfigMap with the mesh configuration, as istiod itself finds it. */
export const meshConfigName = ({ revision }: Istiod): string => (revision === "" ? "istio" : `istio-${revision}`);

function isDiscovery({ name, image = "" }: Container): boolean {
  return name === DISCOVERY || (image.includes("istio") && image.includes("pilot"));
}

const envOf = ({ env = [] }: Container, name: string): string | undefined =>
  env.find((each) => each.name === name)?.value;

/** Tag, or digest where there is no tag; "latest" where there is neither, as a container runtime reads it. */
export function imageVersion(image: string): string {
  const [tagged = "", digest] = image.split("@", 2);
  // A colon before the last slash stands before a port.
  const tag = /:([^:/]+)$/.exec(tagged)?.[1];
  return tag ?? digest ?? "latest";
}
