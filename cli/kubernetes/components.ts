import { Cluster, KINDS } from "./cluster.ts";
import { type ImageName, parseImage } from "./image.ts";
import type { ClusterConfig } from "./options.ts";
import type { Deployment } from "./pods.ts";

/** What runs in a namespace, in the reference's form: its key is `Namespace`, with a capital. */
export interface NamespaceComponents {
  readonly Namespace: string;
  readonly components: readonly Component[];
}

interface Component {
  /** Name of the Deployment. */
  readonly componentName: string;
  /** One per container; init containers are left out. */
  readonly images: readonly ({ readonly name: string } & ImageName)[];
}

/** The Deployments of our namespace with their images, in order of name; none where there are none. */
export async function listComponents(
  config: ClusterConfig,
  signal: AbortSignal,
): Promise<readonly NamespaceComponents[]> {
  using cluster = new Cluster(config);
  const deployments = await cluster.list<Deployment>(KINDS.deployment, signal);
  const components = deployments
    .map(({ metadata, spec }) => ({
      componentName: metadata.name,
      images: spec.template.spec.containers.map(({ name, image = "" }) => ({ name, ...parseImage(image) })),
    }))
    .toSorted((a, b) => (a.componentName < b.componentName ? -1 : 1));
  return components.length === 0 ? [] : [{ Namespace: config.namespace, components }];
}
