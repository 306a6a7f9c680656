/**
 * A cell that holds the newest value, and hands it to any number of readers. A slow reader skips what is outdated, so
 * nothing queues: this is how rooms pass state on.
 */
export class Latest<T> {
  #value: T | undefined;
  #version = 0;
  #waiters = new Set<() => void>();

  constructor(initial?: T) {
    if (initial !== undefined) this.set(initial);
  }

  get value(): T | undefined {
    return this.#value;
  }

  set(value: T): void {
    this.#value = value;
    this.#version += 1;
    const waiters = this.#waiters;
    this.#waiters = new Set();
    for (const wake of waiters) wake();
  }

  /** Yields the value in force, if any, then each newer one, until `signal` is aborted; then it returns. */
  async *watch(signal: AbortSignal): AsyncGenerator<T, void, undefined> {
    let seen = 0;
    while (!signal.aborted) {
      if (this.#version > seen) {
        seen = this.#version;
        yield this.#value as T;
      } else {
        await this.#changed(signal);
      }
    }
  }

  /** Yields at once, and then whenever any of the cells changed; changes that come together are one. */
  static async *changes(
    cells: readonly Latest<unknown>[],
    signal: AbortSignal,
  ): AsyncGenerator<undefined, void, undefined> {
    let seen: readonly number[] = [];
    while (!signal.aborted) {
      const now = cells.map((cell) => cell.#version);
      if (now.some((version, index) => version !== seen[index])) {
        seen = now;
        yield;
      } else {
        const woken = new AbortController();
        const either = AbortSignal.any([signal, woken.signal]);
        await Promise.race(cells.map((cell) => cell.#changed(either)));
        woken.abort();
      }
    }
  }

  /** Resolves with the first value, in force or coming, that `accept` takes. Rejects when `signal` is aborted. */
  async until(accept: (value: T) => boolean, signal: AbortSignal): Promise<T> {
    for await (const value of this.watch(signal)) if (accept(value)) return value;
    signal.throwIfAborted();
    throw new Error("watch ended without an abort");
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        signal.removeEventListener("abort", wake);
        this.#waiters.delete(wake);
        resolve();
      };
      this.#waiters.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }
}
