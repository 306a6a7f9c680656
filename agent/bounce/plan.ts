import type { Reason } from "./decide.ts";
import type { NamespaceRoot } from "./namespace-root.ts";
import type { Controller, PodFacts } from "./pod.ts";

/** Pods that are restarted one after the other: those of one controller. */
export interface Group {
  /** "namespace/Kind/name" */
  readonly key: string;
  readonly namespace: string;
  readonly isGateway: boolean;
  /** Labels that its pods share. */
  readonly labels: Readonly<Record<string, string>>;
  /** What makes its pods: one, or several ReplicaSets of one Deployment. */
  readonly controllers: readonly Controller[];
  /** Pods created at this moment or before are restarted. */
  readonly cutoffMs: number;
  /** How many these were when it was planned. */
  readonly oldPods: number;
}

/** A group whose namespace has not the root yet, or has. */
export type PlannedGroup = Omit<Group, "cutoffMs"> & { readonly cutoffMs: number | undefined };

/** What a restart has before it. */
export interface Plan {
  /** Gateways first, then by namespace and name. */
  readonly all: readonly PlannedGroup[];
  /** Those of them whose pods can be restarted now. */
  readonly groups: readonly Group[];
  /** Pods that nobody would replace, as "namespace/name". They are never touched. */
  readonly unmanaged: readonly string[];
  /** Namespaces where pods cannot be restarted yet, because a new one would begin with another root. */
  readonly waiting: readonly WaitingNamespace[];
}

export interface WaitingNamespace {
  readonly namespace: string;
  readonly pods: number;
  readonly gateways: number;
}

/** Kinds that make a new pod for one that is gone, by API version. */
const REPLACING: Readonly<Record<string, readonly string[]>> = {
  "apps/v1": ["ReplicaSet", "StatefulSet", "DaemonSet"],
  v1: ["ReplicationController"],
};

/** Labels that differ between pods of one controller, or from one of its versions to the next. */
const OWN_LABELS = [
  "pod-template-hash",
  "controller-revision-hash",
  "pod-template-generation",
  "statefulset.kubernetes.io/pod-name",
  "apps.kubernetes.io/pod-index",
];

/**
 * The moment up to which pods of a namespace count as old: whole seconds, inclusive, since nobody can tell which of two
 * things in one second was first. undefined: not known yet.
 */
export function cutoffOf(reason: Reason, root: NamespaceRoot | undefined): number | undefined {
  const { changedRoot, requestedMs, neededRoot } = reason;
  if (neededRoot !== undefined && !root?.roots.includes(neededRoot)) return undefined;
  const moments = [changedRoot === undefined ? undefined : root?.sinceMs, requestedMs];
  return Math.max(...moments.filter((moment) => moment !== undefined));
}

/** What is to be restarted of these pods, all with a proxy of the mesh. `cutoff` is that of a namespace. */
export function planRestart(pods: readonly PodFacts[], cutoff: (namespace: string) => number | undefined): Plan {
  const groups = new Map<string, PlannedGroup>();
  const unmanaged: string[] = [];
  for (const pod of pods) {
    const { namespace, name, controller, createdMs, terminating } = pod;
    const cutoffMs = cutoff(namespace);
    if (terminating || (cutoffMs !== undefined && createdMs > cutoffMs)) continue;
    if (!controller || !isReplacing(controller)) unmanaged.push(`${namespace}/${name}`);
    else {
      const group = groupOf(pod, controller, cutoffMs);
      groups.set(group.key, addPod(groups.get(group.key), group));
    }
  }
  const all = [...groups.values()].sort(inOrder);
  return { all, groups: all.filter(hasCutoff), unmanaged: unmanaged.sort(), waiting: waitingOf(all) };
}

const hasCutoff = (group: PlannedGroup): group is Group => group.cutoffMs !== undefined;

function waitingOf(groups: readonly PlannedGroup[]): WaitingNamespace[] {
  const waiting = new Map<string, WaitingNamespace>();
  for (const { namespace, isGateway, oldPods } of groups.filter((group) => !hasCutoff(group))) {
    const { pods = 0, gateways = 0 } = waiting.get(namespace) ?? {};
    waiting.set(namespace, { namespace, pods: pods + oldPods, gateways: gateways + (isGateway ? oldPods : 0) });
  }
  return [...waiting.values()].sort((a, b) => byText(a.namespace, b.namespace));
}

/** True for what makes a new pod in place of one that is evicted, and keeps on. Jobs begin their work anew, if at all. */
function isReplacing({ apiVersion, kind }: Controller): boolean {
  return REPLACING[apiVersion]?.includes(kind) ?? false;
}

function groupOf(pod: PodFacts, controller: Controller, cutoffMs: number | undefined): PlannedGroup {
  const { namespace, labels, proxy } = pod;
  const { kind, name } = topController(controller, labels);
  const shared = Object.entries(labels).filter(([label]) => !OWN_LABELS.includes(label));
  return {
    key: `${namespace}/${kind}/${name}`,
    namespace,
    isGateway: proxy?.isGateway ?? false,
    labels: Object.fromEntries(shared),
    controllers: [controller],
    cutoffMs,
    oldPods: 1,
  };
}

/** What stands above: a Deployment gives its ReplicaSets its own name and the hash in their pods' labels. */
export function topController(
  { kind, name }: Controller,
  labels: PodFacts["labels"],
): Pick<Controller, "kind" | "name"> {
  const suffix = `-${labels["pod-template-hash"] ?? ""}`;
  if (kind !== "ReplicaSet" || suffix === "-" || !name.endsWith(suffix)) return { kind, name };
  return { kind: "Deployment", name: name.slice(0, -suffix.length) };
}

function addPod(known: PlannedGroup | undefined, { controllers: [controller], ...group }: PlannedGroup): PlannedGroup {
  if (!controller) return { ...group, controllers: [] };
  if (!known) return { ...group, controllers: [controller] };
  const isKnown = known.controllers.some(({ uid }) => uid === controller.uid);
  return {
    ...known,
    isGateway: known.isGateway || group.isGateway,
    controllers: isKnown ? known.controllers : [...known.controllers, controller],
    oldPods: known.oldPods + 1,
  };
}

function inOrder(a: PlannedGroup, b: PlannedGroup): number {
  if (a.isGateway !== b.isGateway) return a.isGateway ? -1 : 1;
  return byText(a.key, b.key);
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
