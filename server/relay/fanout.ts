/** So many flushes run before other events of the loop get their turn: a push to thousands stays unnoticed by timers. */
const SLICE = 50;

/** Runs work in a later turn of the event loop. */
export type Defer = (work: () => void) => void;

export const nextTurn: Defer = (work) => void setImmediate(work);

/** Runs one flush per key soon, in slices of the event loop; a key that is dirty already is not queued twice. */
export class Fanout {
  readonly #flush: (key: string) => void;
  readonly #defer: Defer;
  readonly #dirty = new Set<string>();
  #scheduled = false;

  constructor(flush: (key: string) => void, defer: Defer = nextTurn) {
    this.#flush = flush;
    this.#defer = defer;
  }

  mark(key: string): void {
    this.#dirty.add(key);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#defer(() => this.#slice());
  }

  #slice(): void {
    let left = SLICE;
    for (const key of this.#dirty) {
      if (left-- === 0) break;
      this.#dirty.delete(key);
      this.#flush(key);
    }
    this.#scheduled = this.#dirty.size > 0;
    if (this.#scheduled) this.#defer(() => this.#slice());
  }
}
