import { StateCell } from "../../common/runtime/state-cell.ts";
import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import type { ClusterChange, ClusterStore } from "../identity/cluster-store.ts";
import { type ClusterRecord, clustersSchema } from "../identity/records.ts";

interface Clusters {
  /** In order of name. */
  readonly clusters: readonly ClusterRecord[];
}

/** The records of all clusters, in the document clusters.json. */
export class LocalClusters implements ClusterStore {
  readonly #cell: StateCell<Clusters>;
  readonly #listeners = new Set<(name: string) => void>();
  #indexed: { readonly of: Clusters; readonly byName: ReadonlyMap<string, ClusterRecord> } | undefined;

  private constructor(cell: StateCell<Clusters>) {
    this.#cell = cell;
  }

  static async open(directory: Pick<StateDirectory, "document">): Promise<LocalClusters> {
    const document = directory.document<Clusters>("clusters", clustersSchema);
    return new LocalClusters(await StateCell.open(document, { clusters: [] }));
  }

  get(name: string): ClusterRecord | undefined {
    const of = this.#cell.value;
    // Asked for with each call of each agent.
    if (this.#indexed?.of !== of) {
      this.#indexed = { of, byName: new Map(of.clusters.map((record) => [record.name, record])) };
    }
    return this.#indexed.byName.get(name);
  }

  list(): readonly ClusterRecord[] {
    return this.#cell.value.clusters;
  }

  async findByToken(id: string): Promise<ClusterRecord | undefined> {
    return this.list().find((record) => record.token?.id === id);
  }

  async update(name: string, change: ClusterChange): Promise<ClusterRecord> {
    const before = this.#cell.value;
    let after: ClusterRecord | undefined;
    await this.#cell.update(async (value) => {
      const known = value.clusters.find((record) => record.name === name);
      const changed = (after = await change(known));
      if (changed === known) return value;
      const others = value.clusters.filter((record) => record !== known);
      return { clusters: [...others, changed].sort((a, b) => (a.name < b.name ? -1 : 1)) };
    });
    if (this.#cell.value !== before) for (const listener of this.#listeners) listener(name);
    return after as ClusterRecord;
  }

  onChange(listener: (name: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
