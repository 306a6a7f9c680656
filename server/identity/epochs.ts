import * as z from "zod";
import type { StateDirectory, StateDocument } from "../../common/runtime/state-directory.ts";

/** Numbers set aside with one write, so that a herd of reconnecting agents costs no write each. */
const BLOCK = 10_000;

const schema = z.object({ reserved: z.number().int() });

/** Session epochs: each is greater than all before it, over all clusters and restarts. */
export class Epochs {
  readonly #document: StateDocument<{ reserved: number }>;
  #last: number;
  #reserved: number;
  #reserving: Promise<void> | undefined;

  private constructor(document: StateDocument<{ reserved: number }>, reserved: number) {
    this.#document = document;
    this.#last = reserved;
    this.#reserved = reserved;
  }

  static async open(directory: Pick<StateDirectory, "document">): Promise<Epochs> {
    const document = directory.document("epochs", schema);
    return new Epochs(document, (await document.read())?.reserved ?? 0);
  }

  async next(): Promise<bigint> {
    while (this.#last >= this.#reserved) {
      this.#reserving ??= this.#reserve().finally(() => (this.#reserving = undefined));
      await this.#reserving;
    }
    this.#last += 1;
    return BigInt(this.#last);
  }

  async #reserve(): Promise<void> {
    const reserved = this.#reserved + BLOCK;
    await this.#document.write({ reserved });
    this.#reserved = reserved;
  }
}
