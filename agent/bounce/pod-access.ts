import type { KubeClient } from "../../common/kube/client.ts";
import { readObject } from "../../common/kube/objects.ts";
import { listPage } from "../../common/kube/reflection.ts";
import { type KubeObject, resourcePath, type ResourceType } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Group } from "./plan.ts";
import { type Controller, type PodFacts, readPod } from "./pod.ts";
import type { GroupView } from "./step.ts";

/** What became of an eviction. */
export type Eviction =
  | { readonly kind: "evicted" }
  /** The pod was gone already. */
  | { readonly kind: "gone" }
  /** Not now: most often because of a PodDisruptionBudget. */
  | { readonly kind: "refused"; readonly why: string; readonly retryAfterMs: number };

/** What a restart does with the cluster's pods. */
export interface PodAccess {
  /** Every pod with a proxy of Istio, as it is now. */
  scan(signal: AbortSignal): Promise<PodFacts[]>;
  /** The pods of a group's controllers as they are now. */
  look(group: Pick<Group, "namespace" | "controllers">, signal: AbortSignal): Promise<GroupView>;
  evict(pod: PodFacts, signal: AbortSignal): Promise<Eviction>;
}

const PODS: ResourceType = { apiVersion: "v1", kind: "Pod", plural: "pods" };
const PAGE = "500";

/** By the API server, whose answers are read page by page, and of which only the facts are kept. */
export class KubePodAccess implements PodAccess {
  readonly #client: Pick<KubeClient, "call">;

  constructor(client: Pick<KubeClient, "call">) {
    this.#client = client;
  }

  async scan(signal: AbortSignal): Promise<PodFacts[]> {
    return (await this.#list({}, {}, signal)).filter(({ proxy }) => proxy !== undefined);
  }

  async look({ namespace, controllers }: Pick<Group, "namespace" | "controllers">, signal: AbortSignal) {
    const views = await Promise.all(controllers.map((each) => this.#lookAt(namespace, each, signal)));
    return {
      pods: views.flatMap(({ pods }) => pods),
      desired: views.reduce((sum, { desired }) => sum + desired, 0),
    };
  }

  /** A controller that is gone wants no pods and has none: its pods go with it. */
  async #lookAt(namespace: string, controller: Controller, signal: AbortSignal): Promise<GroupView> {
    const { apiVersion, kind, name, uid } = controller;
    const type = { apiVersion, kind, plural: `${kind.toLowerCase()}s` };
    const object = (await readObject(this.#client, type, { namespace, name }, signal)) as Workload | undefined;
    if (object?.metadata.uid !== uid) return { pods: [], desired: 0 };
    const desired = kind === "DaemonSet" ? object.status?.desiredNumberScheduled : object.spec?.replicas;
    const selector = selectorText(object.spec?.selector ?? {});
    const pods = await this.#list({ namespace }, selector === "" ? {} : { labelSelector: selector }, signal);
    return { pods: pods.filter((pod) => pod.controller?.uid === uid), desired: desired ?? 1 };
  }

  async #list(
    place: { readonly namespace?: string },
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<PodFacts[]> {
    const pods: PodFacts[] = [];
    let token: string | undefined;
    do {
      const request = {
        what: `list pods of ${place.namespace ?? "all namespaces"}`,
        method: "GET",
        path: resourcePath(PODS, place),
        query: { ...query, limit: PAGE, ...(token === undefined ? {} : { continue: token }) },
      } as const;
      const page = listPage(await this.#client.call(request, signal));
      pods.push(...page.items.flatMap((item) => readPod(item as KubeObject) ?? []));
      token = page.continueToken;
    } while (token !== undefined);
    return pods;
  }

  async evict({ namespace, name, uid }: PodFacts, signal: AbortSignal): Promise<Eviction> {
    const request = {
      what: `evict pod ${namespace}/${name}`,
      method: "POST",
      path: resourcePath(PODS, { namespace, name, subresource: "eviction" }),
      body: {
        apiVersion: "policy/v1",
        kind: "Eviction",
        metadata: { namespace, name },
        // A pod of the same name that came later, as a StatefulSet makes it, is not meant.
        deleteOptions: { preconditions: { uid } },
      },
    } as const;
    try {
      await this.#client.call(request, signal);
      return { kind: "evicted" };
    } catch (thrown) {
      const error = MeshError.from(thrown);
      if (error.code === "not_found" || error.code === "conflict") return { kind: "gone" };
      if (error.code !== "resource_exhausted") throw error;
      return { kind: "refused", why: error.message, retryAfterMs: error.retryAfterMs ?? 0 };
    }
  }
}

interface Workload extends KubeObject {
  readonly spec?: { readonly replicas?: number; readonly selector?: LabelSelector | Readonly<Record<string, string>> };
  readonly status?: { readonly desiredNumberScheduled?: number };
}

interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
    readonly values?: readonly string[];
  }[];
}

/** A selector as a query has it. A ReplicationController's is the bare map of labels. */
export function selectorText(selector: LabelSelector | Readonly<Record<string, string>>): string {
  const { matchLabels, matchExpressions = [] } = selector as LabelSelector;
  const isBare = !("matchLabels" in selector) && !("matchExpressions" in selector);
  const labels = isBare ? (selector as Readonly<Record<string, string>>) : (matchLabels ?? {});
  const terms = matchExpressions.map(({ key, operator, values = [] }) => {
    if (operator === "Exists") return key;
    if (operator === "DoesNotExist") return `!${key}`;
    return `${key} ${operator.toLowerCase()} (${values.join(",")})`;
  });
  return [...Object.entries(labels).map(([key, value]) => `${key}=${value}`), ...terms].join(",");
}
