import { KubeClient } from "../../common/kube/client.ts";
import { type ObjectName, readObject } from "../../common/kube/objects.ts";
import { describePlace, type KubeObject, resourcePath, type ResourceType } from "../../common/kube/resource-type.ts";
import { type ClusterConfig, requireKubeconfig } from "./options.ts";

/** What meshctl reads or writes. */
export const KINDS = {
  namespace: { apiVersion: "v1", kind: "Namespace", plural: "namespaces" },
  pod: { apiVersion: "v1", kind: "Pod", plural: "pods" },
  secret: { apiVersion: "v1", kind: "Secret", plural: "secrets" },
  kubernetesCluster: {
    apiVersion: "multicluster.solo.io/v1alpha1",
    kind: "KubernetesCluster",
    plural: "kubernetesclusters",
  },
  issuedCertificate: {
    apiVersion: "certificates.mesh.gloo.solo.io/v1",
    kind: "IssuedCertificate",
    plural: "issuedcertificates",
  },
  podBounceDirective: {
    apiVersion: "certificates.mesh.gloo.solo.io/v1",
    kind: "PodBounceDirective",
    plural: "podbouncedirectives",
  },
  deployment: { apiVersion: "apps/v1", kind: "Deployment", plural: "deployments" },
} as const satisfies Record<string, ResourceType>;

/** One cluster as the user named it. Dispose it when done. */
export class Cluster implements Disposable {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Words for messages: "context cluster-1". */
  readonly title: string;
  readonly kubeconfig: string;
  readonly context: string | undefined;

  /** Reads the kubeconfig; connects to nothing. Throws `config_invalid`. */
  constructor(config: ClusterConfig) {
    this.kubeconfig = requireKubeconfig(config);
    this.context = config.kubecontext;
    this.client = KubeClient.open(this.kubeconfig, config.kubecontext);
    this.namespace = config.namespace;
    this.title = `context ${this.client.context}`;
  }

  /** The object, or undefined where there is none. */
  async find<T extends KubeObject>(type: ResourceType, place: ObjectName, signal: AbortSignal): Promise<T | undefined> {
    return (await readObject(this.client, type, place, signal)) as T | undefined;
  }

  /** Objects of our namespace. */
  async list<T extends KubeObject>(type: ResourceType, signal: AbortSignal, labelSelector = ""): Promise<readonly T[]> {
    const { namespace } = this;
    const answer = await this.client.call(
      {
        what: `list ${describePlace(type, { namespace })}`,
        method: "GET",
        path: resourcePath(type, { namespace }),
        query: labelSelector === "" ? {} : { labelSelector },
      },
      signal,
    );
    return (answer as { readonly items?: readonly T[] }).items ?? [];
  }

  [Symbol.dispose](): void {
    this.client.close();
  }
}
