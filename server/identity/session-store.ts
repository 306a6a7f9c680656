/** A session as it begins. */
export interface NewSession {
  readonly cluster: string;
  readonly sessionId: string;
  readonly peer: string;
  readonly agentVersion: string;
  readonly connectedAtMs: number;
}

/** The session that a cluster has or had last. */
export interface SessionRecord extends NewSession {
  readonly epoch: bigint;
  /** Replica of the server that holds or held it. */
  readonly replica: string;
  readonly connected: boolean;
  readonly clockOffsetMs: number;
  /** When it ended, and why; undefined while it is open, and where that was not recorded. */
  readonly ended?: { readonly atMs: number; readonly reason: string };
}

/** Which session has ended. */
export type EndedSession = Pick<SessionRecord, "cluster" | "epoch" | "sessionId">;

/** The sessions of all clusters, at all replicas. Every session of a cluster has a greater epoch than all before it. */
export interface SessionStore {
  /** Name of this replica. */
  readonly replica: string;
  /**
   * Records a session that begins here, and gives its epoch: from then on every older session of the cluster is over.
   * `instance` is what the agent's process calls itself: two that take turns are told to the watch for clones.
   */
  begin(session: NewSession, instance: string): Promise<bigint>;
  /** Records that a session of this replica has ended, unless a newer one has begun. Never throws; it is tried again. */
  end(session: EndedSession, reason: string): void;
  /** Notes how far the agent's clock is off. */
  noteClockOffset(session: { readonly cluster: string; readonly epoch: bigint }, offsetMs: number): void;
  get(cluster: string): SessionRecord | undefined;
  isConnected(cluster: string): boolean;
  /** Calls `listener` with the cluster after each change, also one by another replica. Returns what takes it off. */
  onChange(listener: (cluster: string) => void): () => void;
}
