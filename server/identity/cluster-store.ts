import { StateCell } from "../../common/runtime/state-cell.ts";
import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import { type ClusterRecord, clustersSchema } from "./records.ts";

interface Clusters {
  /** In order of name. */
  readonly clusters: readonly ClusterRecord[];
}

/** The records of all clusters, in the document clusters.json. */
export class ClusterStore {
  readonly #cell: StateCell<Clusters>;

  private constructor(cell: StateCell<Clusters>) {
    this.#cell = cell;
  }

  static async open(directory: Pick<StateDirectory, "document">): Promise<ClusterStore> {
    const document = directory.document<Clusters>("clusters", clustersSchema);
    return new ClusterStore(await StateCell.open(document, { clusters: [] }));
  }

  get(name: string): ClusterRecord | undefined {
    return this.list().find((record) => record.name === name);
  }

  /** In order of name. */
  list(): readonly ClusterRecord[] {
    return this.#cell.value.clusters;
  }

  findByToken(id: string): ClusterRecord | undefined {
    return this.list().find((record) => record.token?.id === id);
  }

  /** Replaces the record of `name` by what `change` makes of it; see `StateCell.update`. */
  async update(
    name: string,
    change: (record: ClusterRecord | undefined) => ClusterRecord | Promise<ClusterRecord>,
  ): Promise<ClusterRecord> {
    let after: ClusterRecord | undefined;
    await this.#cell.update(async (value) => {
      const before = value.clusters.find((record) => record.name === name);
      const changed = (after = await change(before));
      if (changed === before) return value;
      const others = value.clusters.filter((record) => record !== before);
      return { clusters: [...others, changed].sort((a, b) => (a.name < b.name ? -1 : 1)) };
    });
    return after as ClusterRecord;
  }
}
