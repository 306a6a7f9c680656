import { isDeepStrictEqual } from "node:util";
import type { EventFacts, EventRecorder } from "../../common/kube/events.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Sighting } from "../identity/clone-watch.ts";
import type { ClusterChange, ClusterStore } from "../identity/cluster-store.ts";
import type { ClusterRecord } from "../identity/records.ts";
import type { ClusterObjects } from "./cluster-objects.ts";
import { identityOf, recordOf } from "./cluster-status.ts";
import type { ApiServerContext } from "./kubernetes-context.ts";

/** A token that another replica has just made is heard of within this time. */
const TOKEN_WAIT_MS = 2_000;

type Context = Pick<ApiServerContext, "clock" | "stop"> & { readonly events: Pick<EventRecorder, "record"> };

/** The records in the status of KubernetesCluster objects. A cluster without such an object is not registered. */
export class KubernetesClusters implements ClusterStore {
  readonly #objects: ClusterObjects;
  readonly #context: Context;

  constructor(objects: ClusterObjects, context: Context) {
    this.#objects = objects;
    this.#context = context;
  }

  get(name: string): ClusterRecord | undefined {
    const cluster = this.#objects.get(name);
    return cluster && recordOf(cluster);
  }

  list(): readonly ClusterRecord[] {
    return this.#objects.list().map(recordOf);
  }

  async findByToken(id: string): Promise<ClusterRecord | undefined> {
    for (const cluster of this.#objects.values()) {
      if (cluster.status?.identity?.token?.id === id) return recordOf(cluster);
    }
    const { clock, stop } = this.#context;
    const heard = Promise.withResolvers<ClusterRecord | undefined>();
    const over = new AbortController();
    const forget = this.#objects.onChange((name) => {
      const record = this.get(name);
      if (record?.token?.id === id) heard.resolve(record);
    });
    const late = clock.sleep(TOKEN_WAIT_MS, AbortSignal.any([stop, over.signal])).catch(() => undefined);
    try {
      return await Promise.race([heard.promise, late.then(() => undefined)]);
    } finally {
      forget();
      over.abort();
    }
  }

  async update(name: string, change: ClusterChange): Promise<ClusterRecord> {
    const first = await this.#tryUpdate(name, change);
    if (first.isThere) return first.record;
    // The change was content with a cluster that is not registered, so this registers it.
    await this.#objects.create(name);
    const second = await this.#tryUpdate(name, change);
    if (second.isThere) return second.record;
    throw new MeshError("conflict", `KubernetesCluster ${name} was deleted meanwhile`);
  }

  async #tryUpdate(name: string, change: ClusterChange): Promise<{ record: ClusterRecord; isThere: boolean }> {
    let before: ClusterRecord | undefined;
    let after: ClusterRecord | undefined;
    const cluster = await this.#objects.updateStatus(
      name,
      async (found) => {
        before = found && recordOf(found);
        after = await change(before);
        const identity = identityOf(after);
        if (isDeepStrictEqual(identity, before && identityOf(before))) return undefined;
        return { ...found?.status, identity };
      },
      "stored",
    );
    if (!after) throw new MeshError("internal", `the record of cluster ${name} was not asked for`);
    if (cluster) {
      for (const event of eventsOf(before, after)) this.#context.events.record({ regarding: cluster, ...event });
    }
    return { record: after, isThere: cluster !== undefined };
  }

  onChange(listener: (name: string) => void): () => void {
    return this.#objects.onChange(listener);
  }
}

/** What people should hear of a clone. It names no peer: the same event again is counted, and not written anew. */
export const cloneEvent = ({ what, hint }: Sighting): Omit<EventFacts, "regarding"> => ({
  ...{ type: "Warning", action: "Admit", reason: "PossibleClone" },
  note: `${what}: somebody copied its agent's state or Secret, or restored a backup of it; ${hint}`,
});

/** What people should hear of a change of a cluster's record. */
export function eventsOf(
  before: ClusterRecord | undefined,
  { state, token, next }: ClusterRecord,
): readonly Omit<EventFacts, "regarding">[] {
  const normal = { type: "Normal", action: "Register" } as const;
  if (state === "REVOKED" && before?.state !== "REVOKED") {
    const note = "the cluster's certificates and tokens are void, and its session is ended";
    return [{ type: "Warning", action: "Revoke", reason: "Revoked", note }];
  }
  if (token && token.id !== before?.token?.id) {
    const note = `a join token was made that is good until ${new Date(token.expiresAtMs).toISOString()}`;
    return [{ ...normal, reason: "TokenIssued", note }];
  }
  const isUsed = token?.used !== undefined && before?.token?.used === undefined;
  if (!next || !isUsed) return [];
  const note = `the agent has a certificate that is good until ${new Date(next.notAfterMs).toISOString()}`;
  return [{ ...normal, action: "Enroll", reason: "Enrolled", note }];
}
