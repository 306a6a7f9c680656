import type { StateDocument } from "./state-directory.ts";

/** A document held in memory: read without waiting, changed one change after the other, on disk before it is seen. */
export class StateCell<T> {
  readonly #document: StateDocument<T>;
  #value: T;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(document: StateDocument<T>, value: T) {
    this.#document = document;
    this.#value = value;
  }

  /** `initial` stands until something is written. */
  static async open<T>(document: StateDocument<T>, initial: T): Promise<StateCell<T>> {
    return new StateCell(document, (await document.read()) ?? initial);
  }

  get value(): T {
    return this.#value;
  }

  /** Takes over what somebody else has written meanwhile; false where there is nothing, and the value stays. */
  async reload(): Promise<boolean> {
    const work = this.#last.then(async () => {
      const found = await this.#document.read();
      if (found !== undefined) this.#value = found;
      return found !== undefined;
    });
    this.#last = work.catch(() => undefined);
    return work;
  }

  /**
   * Replaces the value by what `change` makes of it, when all changes before are done, and returns it. A `change` that
   * throws changes nothing; one that returns the value it was given writes nothing.
   */
  async update(change: (value: T) => T | Promise<T>): Promise<T> {
    const work = this.#last.then(async () => {
      const after = await change(this.#value);
      if (after !== this.#value) await this.#document.write(after);
      return (this.#value = after);
    });
    this.#last = work.catch(() => undefined);
    return work;
  }
}
