import type { ClusterRecord } from "./records.ts";

/** Makes the record after of the record before, undefined for a cluster that is not registered. */
export type ClusterChange = (record: ClusterRecord | undefined) => ClusterRecord | Promise<ClusterRecord>;

/** The records of all clusters, whoever of the replicas wrote them. */
export interface ClusterStore {
  /** As far as this replica has heard; `update` decides on what is stored. */
  get(name: string): ClusterRecord | undefined;
  /** In order of name. */
  list(): readonly ClusterRecord[];
  /** The cluster with this token. One that another replica has just made is waited for, briefly. */
  findByToken(id: string): Promise<ClusterRecord | undefined>;
  /**
   * Replaces the record of `name` by what `change` makes of the stored one. A `change` that throws changes nothing; one
   * that returns the record it was given writes nothing. It is called again when another replica was faster.
   */
  update(name: string, change: ClusterChange): Promise<ClusterRecord>;
  /** Calls `listener` with the name after each change, also one by another replica. Returns what takes it off. */
  onChange(listener: (name: string) => void): () => void;
}
