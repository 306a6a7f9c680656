import type { MeshError } from "../../common/runtime/errors.ts";
import type { Dice } from "./dice.ts";
import type { SimProcess } from "./process.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** How a direction ends: by its writer, by its writer's cancellation, or because the connection is gone. */
export type Ending = { readonly kind: "end" | "cancel" } | { readonly kind: "error"; readonly error: MeshError };

export interface PipeOptions {
  readonly time: VirtualTime;
  readonly dice: Dice;
  readonly from: SimProcess;
  readonly to: SimProcess;
  /** So many messages may lie unread before `write` says that there is no room. */
  readonly room: number;
  readonly latencyMs: number;
  /** So many more a writer may write that cannot wait. */
  readonly urgent: number;
  /** Called when a cancellation arrives, which waits for no reader. */
  readonly onCancel?: () => void;
}

/** One direction of a stream as TCP makes it: in order, late, cut at any byte, or silent for ever. */
export class Pipe {
  readonly #options: PipeOptions;
  #wire: Buffer[] = [];
  #inbox: Buffer[] = [];
  #ending: Ending | undefined;
  #hasEnded = false;
  #isClosed = false;
  #isMoving = false;
  #stalledUntilMs = 0;
  #isBlocked = false;
  #onDrain: (() => void) | undefined;
  #wake: (() => void) | undefined;
  /** Messages that were written although there was no room. */
  #overflow = 0;

  constructor(options: PipeOptions) {
    this.#options = options;
  }

  get unread(): number {
    return this.#wire.length + this.#inbox.length;
  }

  /** True when more lies here than a writer that obeys `write` leaves. */
  get isFlooded(): boolean {
    return this.#overflow > this.#options.urgent;
  }

  write(bytes: Buffer): boolean {
    if (this.#isClosed) return true;
    if (this.#isBlocked) this.#overflow += 1;
    this.#wire.push(bytes);
    this.#move();
    if (this.unread >= this.#options.room) this.#isBlocked = true;
    return !this.#isBlocked;
  }

  /** Calls back once when there is room again. */
  onDrain(callback: () => void): void {
    this.#onDrain = callback;
  }

  /** The next message, or how it ended; to be called by one reader, one call after the other. */
  async read(): Promise<Buffer | Ending> {
    for (;;) {
      const bytes = this.#inbox.shift();
      if (bytes) {
        this.#drain();
        return bytes;
      }
      if (this.#hasEnded && this.#ending) return this.#ending;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Ends it after what was written. */
  end(ending: Ending): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#ending = ending;
    this.#move();
  }

  /** Ends it at any byte of what is under way; without an ending the reader is never told. */
  cut(ending: Ending | undefined): void {
    if (this.#isClosed && this.#wire.length === 0) return;
    const { dice } = this.#options;
    const underWay = this.#wire.reduce((sum, { length }) => sum + length, 0);
    let left = dice.between(0, underWay);
    this.#wire = this.#wire.filter(({ length }) => (left -= length) >= 0);
    if (dice.chance(0.3)) this.#inbox = [];
    this.#isClosed = true;
    this.#ending = ending;
    this.#move();
  }

  stall(ms: number): void {
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, this.#options.time.nowMs + ms);
  }

  #move(): void {
    const { time, dice, latencyMs } = this.#options;
    if (this.#isMoving || this.#hasEnded) return;
    if (this.#wire.length === 0 && !this.#ending) return;
    this.#isMoving = true;
    time.after(Math.max(this.#stalledUntilMs - time.nowMs, dice.random() * latencyMs), () => {
      this.#isMoving = false;
      if (this.#stalledUntilMs <= time.nowMs) this.#arrive();
      this.#move();
    });
  }

  #arrive(): void {
    const bytes = this.#wire.shift();
    if (bytes) this.#inbox.push(bytes);
    else if (this.#ending) this.#hasEnded = true;
    if (!this.#options.to.isAlive) return;
    if (this.#hasEnded && this.#ending?.kind === "cancel") this.#options.onCancel?.();
    this.#wake?.();
  }

  #drain(): void {
    if (!this.#isBlocked || this.unread > 0) return;
    this.#isBlocked = false;
    this.#overflow = 0;
    const callback = this.#onDrain;
    this.#onDrain = undefined;
    if (callback) this.#options.from.later(this.#options.latencyMs, callback);
  }
}
