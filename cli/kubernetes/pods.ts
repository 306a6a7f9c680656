import type { ObjectMeta } from "../../common/api/meta.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { type Cluster, KINDS } from "./cluster.ts";

/** A container of a pod, as far as it is read. */
interface Container {
  readonly name: string;
  readonly image?: string;
}

/** A Deployment, as far as it is read. */
export interface Deployment extends KubeObject {
  readonly spec: {
    readonly selector: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly template: { readonly spec: { readonly containers: readonly Container[] } };
  };
}

/** A Pod, as far as it is read. */
export interface Pod extends KubeObject {
  readonly metadata: ObjectMeta & { readonly deletionTimestamp?: string };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly state?: Readonly<Record<string, { readonly reason?: string; readonly message?: string } | undefined>>;
    }[];
  };
}

/** Pods of a Deployment; undefined where there is no such Deployment. */
export async function podsOf(
  cluster: Cluster,
  deployment: string,
  signal: AbortSignal,
): Promise<readonly Pod[] | undefined> {
  const place = { namespace: cluster.namespace, name: deployment };
  const found = await cluster.find<Deployment>(KINDS.deployment, place, signal);
  if (!found) return undefined;
  const labels = Object.entries(found.spec.selector.matchLabels ?? {});
  return cluster.list<Pod>(KINDS.pod, signal, labels.map(([name, value]) => `${name}=${value}`).join());
}

/** True for a pod that serves. */
export const isReady = ({ metadata, status }: Pod): boolean =>
  metadata.deletionTimestamp === undefined &&
  (status?.conditions ?? []).some((each) => each.type === "Ready" && each.status === "True");

/** Why a pod does not serve, in Kubernetes' words: "ErrImagePull: not found". */
export function troubleOf({ status }: Pod): string {
  const waiting = (status?.containerStatuses ?? []).flatMap(({ name, state = {} }) => {
    const { reason, message } = state["waiting"] ?? state["terminated"] ?? {};
    return reason === undefined ? [] : [`container ${name}: ${[reason, message].filter(Boolean).join(": ")}`];
  });
  const unmet = (status?.conditions ?? []).find((each) => each.status === "False" && each.message);
  return waiting[0] ?? unmet?.message ?? `phase ${status?.phase ?? "unknown"}`;
}

/** Name of a pod of the server that serves. Throws `unavailable` or `not_found`, with what there is instead. */
export async function serverPod(cluster: Cluster, signal: AbortSignal): Promise<string> {
  const { namespace, title } = cluster;
  const pods = await podsOf(cluster, SERVER, signal);
  if (!pods) {
    throw new MeshError("not_found", `${title} has no deployment ${SERVER} in namespace ${namespace}`, {
      hint: "name the management cluster's context and namespace, or install the chart there (docs/install.md)",
    });
  }
  const ready = pods.find(isReady);
  if (ready) return ready.metadata.name;
  const [first] = pods;
  throw new MeshError("unavailable", `no pod of ${SERVER} is ready in namespace ${namespace} of ${title}`, {
    hint: first
      ? `pod ${first.metadata.name}: ${troubleOf(first)}`
      : "there is no pod: see kubectl describe deployment",
  });
}

/** Name of the server's Deployment, and of its container. */
export const SERVER = "enterprise-networking";
