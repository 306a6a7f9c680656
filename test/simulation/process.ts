import type { Clock } from "../../common/runtime/clock.ts";
import type { Dice } from "./dice.ts";
import type { VirtualTime } from "./virtual-time.ts";

/**
 * One life of a program. When it is killed, nothing that it waits for ever comes, which is what a crash at that await is:
 * what it had asked for may have happened all the same.
 */
export class SimProcess {
  readonly clock: Clock;
  readonly #time: VirtualTime;
  readonly #dice: Dice;
  #isAlive = true;
  #sleepers = 0;
  readonly #underWay = new Set<() => void>();

  constructor(time: VirtualTime, dice: Dice) {
    this.#time = time;
    this.#dice = dice;
    // No two machines agree on the time.
    const offMs = dice.between(-2_000, 2_000);
    this.clock = { now: () => Math.floor(time.nowMs) + offMs, sleep: (ms, signal) => this.#sleep(ms, signal) };
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** How many waits for a time are under way. */
  get sleepers(): number {
    return this.#sleepers;
  }

  /** A request that is under way then arrives, or does not; nothing comes of it later. */
  kill(): void {
    this.#isAlive = false;
    for (const effect of this.#underWay) if (this.#dice.chance(0.5)) effect();
    this.#underWay.clear();
  }

  /** Asks something outside to have this effect, and waits for the answer; each way takes up to `ms`. */
  async io<T>(effect: () => T, ms = 5): Promise<T> {
    return new Promise((resolve, reject) => {
      const arrive = (): void => {
        this.#underWay.delete(arrive);
        let answer: () => void;
        try {
          const value = effect();
          answer = () => resolve(value);
        } catch (error) {
          answer = () => reject(error);
        }
        this.later(this.#dice.random() * ms, answer);
      };
      this.#underWay.add(arrive);
      this.later(this.#dice.random() * ms, arrive);
    });
  }

  /** Does `work` in so long, if it lives then. */
  later(delayMs: number, work: () => void): void {
    this.#time.after(delayMs, () => {
      if (this.#isAlive) work();
    });
  }

  async #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.#sleepers += 1;
    try {
      await new Promise<void>((resolve, reject) => {
        const abort = (): void => reject(signal?.reason as Error);
        signal?.addEventListener("abort", abort, { once: true });
        this.later(ms, () => {
          signal?.removeEventListener("abort", abort);
          resolve();
        });
      });
    } finally {
      this.#sleepers -= 1;
    }
  }
}
