interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly work: () => void;
}

const isBefore = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

/** Time that passes only from one event to the next, as fast as these are worked off. */
export class VirtualTime {
  nowMs: number;
  #order = 0;
  /** A heap: the next event first. */
  readonly #events: Event[] = [];

  constructor(startMs: number) {
    this.nowMs = startMs;
  }

  /** Does `work` in `delayMs`, after whatever was to be done by then. */
  after(delayMs: number, work: () => void): void {
    const event = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order++, work };
    let index = this.#events.push(event) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(event, this.#at(parent))) break;
      this.#events[index] = this.#at(parent);
      index = parent;
    }
    this.#events[index] = event;
  }

  /** Does the next thing and lets everybody whom that woke think to the end. False when nothing is left to do. */
  async step(): Promise<boolean> {
    const event = this.#pop();
    if (!event) return false;
    this.nowMs = event.atMs;
    event.work();
    // Ticks come when no promise has anything left to say, and nothing here waits for anything else.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    return true;
  }

  #pop(): Event | undefined {
    const first = this.#events[0];
    const last = this.#events.pop();
    if (!first || !last || this.#events.length === 0) return first;
    const size = this.#events.length;
    let index = 0;
    for (;;) {
      let child = index * 2 + 1;
      if (child >= size) break;
      if (child + 1 < size && isBefore(this.#at(child + 1), this.#at(child))) child += 1;
      if (!isBefore(this.#at(child), last)) break;
      this.#events[index] = this.#at(child);
      index = child;
    }
    this.#events[index] = last;
    return first;
  }

  #at(index: number): Event {
    const event = this.#events[index];
    if (!event) throw new Error(`no event ${index}`);
    return event;
  }
}
