import type { KubeClient } from "../../common/kube/client.ts";
import { resourcePath } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";

/** Pods of a controller, and what they are made of. */
export interface Deploying {
  readonly namespace: string;
  readonly name: string;
  readonly replicas?: number;
  readonly isGateway?: boolean;
}

interface Pod {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly nodeName?: string };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/** A container such as Istio's injection leaves in a pod. */
export function proxyContainer(isGateway = false): object {
  return {
    name: "istio-proxy",
    image: "docker.io/istio/proxyv2:1.31.0",
    args: ["proxy", isGateway ? "router" : "sidecar"],
    env: [{ name: "CA_ADDR", value: "istiod.istio-system.svc:15012" }],
  };
}

/** A Deployment of pods with a proxy. */
export function meshDeployment({ namespace, name, replicas = 1, isGateway = false }: Deploying): object {
  const labels = { app: name };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { namespace, name },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { containers: [proxyContainer(isGateway)], terminationGracePeriodSeconds: 0 },
      },
    },
  };
}

const PODS = { apiVersion: "v1", kind: "Pod", plural: "pods" };

/** Does to pods what a kubelet would: those that came are made Ready, those that are to go, go. */
export class PretendedKubelet {
  readonly #client: KubeClient;
  readonly #signal: AbortSignal;

  /** `client` is an administrator's. */
  constructor(client: KubeClient, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
  }

  async pods(): Promise<readonly Pod[]> {
    const request = { what: "list pods", method: "GET", path: resourcePath(PODS) } as const;
    return ((await this.#client.call(request, this.#signal)) as { items: Pod[] }).items;
  }

  /** One round; pods whose label `app` is among `but` never become Ready. */
  async round(but: readonly string[] = []): Promise<void> {
    for (const pod of await this.pods()) {
      const { metadata, status } = pod;
      const isReady = status?.conditions?.some(({ type, status: value }) => type === "Ready" && value === "True");
      if (metadata.deletionTimestamp) await this.#change(pod, "DELETE", { gracePeriodSeconds: 0 });
      else if (!isReady && !but.includes(metadata.labels?.["app"] ?? "")) {
        const conditions = [{ type: "Ready", status: "True" }];
        await this.#change(pod, "PATCH", { status: { phase: "Running", conditions } });
      }
    }
  }

  async #change({ metadata: { namespace, name } }: Pod, method: "PATCH" | "DELETE", body: object): Promise<void> {
    const place = { namespace, name, ...(method === "PATCH" ? { subresource: "status" as const } : {}) };
    const contentType = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const request = { what: "play kubelet", method, path: resourcePath(PODS, place), body, contentType };
    try {
      await this.#client.call(request, this.#signal);
    } catch (thrown) {
      // A pod that went meanwhile needs no kubelet.
      if (MeshError.from(thrown).code !== "not_found") throw thrown;
    }
  }
}
