import { isDeepStrictEqual } from "node:util";
import type {
  IssuedCertificate,
  IssuedCertificateEntry,
  IssuedCertificateResourceStatus,
} from "../../common/api/certificates.ts";
import { fromReplica, resourceState, toReplica } from "../../common/api/replica.ts";
import type { ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { orderOf, type OrderContext } from "../certs/orders.ts";
import { judgeByOrder, leastAdvanced, speakingOf } from "../certs/replica-status.ts";
import { agentCaOf, type StoredCertificate } from "../store/certificate-object.ts";
import { conditionsOf } from "./conditions.ts";

/** More pods than any cluster has istiods, and less than fills an object. */
const MAX_ENTRIES = 256;

/** What one replica of the agent knows beside the object. */
export interface StatusView {
  /** Its own name. */
  readonly replica: string;
  /** Whether it folds the entries, and takes those of gone pods out. */
  readonly leading: boolean;
  /** What its own pods said last, by uid: those whose order this certificate is. */
  readonly mine: ReadonlyMap<string, ReplicaStatus>;
  /** True for a pod that surely is no more. */
  readonly isPodGone: (namespace: string, uid: string) => boolean;
  /** True for a replica of the agent that surely is no more. */
  readonly isReplicaGone: (replica: string) => boolean;
  readonly orders: OrderContext;
  readonly nowMs: number;
}

/**
 * The status that an IssuedCertificate shall have as far as this replica is concerned; undefined when it has it. Each
 * replica writes the entries of its own pods and leaves the others; the leader folds them all.
 */
export function nextStatus(
  object: IssuedCertificate,
  stored: StoredCertificate,
  view: StatusView,
): IssuedCertificateResourceStatus | undefined {
  const before = object.status ?? {};
  const replicas = nextEntries(before.replicas ?? [], view);
  const status = {
    ...before,
    ...((before.replicas || replicas.length > 0) && { replicas }),
    ...(view.leading && fold(object, stored, { ...view, replicas })),
  };
  const after = Object.fromEntries(Object.entries(status).filter(([, value]) => value !== undefined));
  return isDeepStrictEqual(after, before) ? undefined : after;
}

/** What a reader of the object may believe of a pod, given the order in force. */
export function replicaStatuses(
  entries: readonly IssuedCertificateEntry[],
  stored: StoredCertificate,
  orders: OrderContext,
): ReplicaStatus[] {
  const { version } = orderOf(stored.certificate, orders);
  return entries.map((entry) => judgeByOrder(fromReplica(entry), version));
}

function nextEntries(entries: readonly IssuedCertificateEntry[], view: StatusView): IssuedCertificateEntry[] {
  const { replica, leading, mine, isPodGone } = view;
  const known = new Set(entries.map(({ podUid }) => podUid));
  const added = [...mine.values()].filter(({ podUid, podNamespace, connected }) => {
    return !known.has(podUid) && (connected || !isPodGone(podNamespace, podUid));
  });
  const next = [
    ...entries.map((entry) => nextEntry(entry, view)),
    ...added.map((status) => ({ ...toReplica(status), agent: replica })),
  ];
  const isThere = ({ connected, podNamespace = "", podUid }: IssuedCertificateEntry): boolean =>
    connected === true || !isPodGone(podNamespace, podUid);
  const kept = leading ? next.filter(isThere) : next;
  if (kept.length <= MAX_ENTRIES) return kept;
  return [...kept.filter(({ connected }) => connected), ...kept.filter(({ connected }) => !connected)].slice(
    0,
    MAX_ENTRIES,
  );
}

function nextEntry(entry: IssuedCertificateEntry, view: StatusView): IssuedCertificateEntry {
  const { replica, leading, mine, isReplicaGone } = view;
  const status = mine.get(entry.podUid);
  // A pod that left here and came to another replica is that one's to speak of.
  if (status && (status.connected || entry.agent === replica)) return { ...toReplica(status), agent: replica };
  const isLost = entry.agent === replica || (leading && isReplicaGone(entry.agent ?? ""));
  if (!isLost || entry.connected !== true) return entry;
  const { challengedBy: _, ...rest } = entry;
  return { ...rest, connected: false };
}

/** What the pods together say of the certificate. */
function fold(
  { metadata, status }: IssuedCertificate,
  stored: StoredCertificate,
  view: StatusView & { readonly replicas: readonly IssuedCertificateEntry[] },
): { readonly [K in keyof IssuedCertificateResourceStatus]: IssuedCertificateResourceStatus[K] | undefined } {
  const { orders, nowMs } = view;
  const replicas = replicaStatuses(view.replicas, stored, orders);
  const speaking = speakingOf(replicas);
  const state = leastAdvanced(replicas);
  const observedGeneration = metadata.generation ?? 0;
  const authority = orderOf(stored.certificate, orders).certificate?.certificateAuthority;
  const ends = speaking.flatMap(({ notAfter }) => (notAfter ? [notAfter.getTime()] : []));
  const failed = speaking.find(({ error }) => error !== undefined);
  const { heldAs } = stored;
  return {
    state: resourceState(state),
    observedGeneration,
    error: failed?.error && `${failed.podName}: ${failed.error.message}`,
    appliedAgentCa: authority && agentCaOf(authority.value),
    notAfter: ends.length > 0 ? new Date(Math.min(...ends)).toISOString() : undefined,
    detached: heldAs === "managed" ? undefined : true,
    conditions: conditionsOf({ state, speaking, heldAs, observedGeneration, before: status?.conditions ?? [], nowMs }),
  };
}
