import { MeshError } from "../runtime/errors.ts";

/** So many messages wait for their reader before the peer is held back: each may be as large as a message may be. */
const HIGH_WATER = 4;

/** What reading needs of a call. */
export interface ReadableCall extends NodeJS.EventEmitter {
  pause(): unknown;
  resume(): unknown;
}

/**
 * The messages of a call, for one reader. Leaving it early leaves the call alone, whose status is still to be sent
 * (grpc-node#1839). A stream's own iterator does the same work and costs more than decoding the message.
 */
export class Inbox<T> implements AsyncIterableIterator<T> {
  readonly #call: ReadableCall;
  readonly #queue: T[] = [];
  #waiting: PromiseWithResolvers<IteratorResult<T, undefined>> | undefined;
  #end: { readonly error?: MeshError } | undefined;

  constructor(call: ReadableCall) {
    this.#call = call;
    call.on("data", (message: T) => this.#take(message));
    call.on("end", () => this.#ended({}));
    const lost = (): void =>
      this.#ended({ error: new MeshError("canceled", "the call ended before its requests did") });
    call.on("error", lost);
    call.on("cancelled", lost);
    call.on("close", lost);
  }

  /** The next message, or the end when the peer has closed its side. Rejects when the call was cut off. */
  next(): Promise<IteratorResult<T, undefined>> {
    const message = this.#queue.shift();
    if (message !== undefined) {
      if (this.#queue.length === 0) this.#call.resume();
      return Promise.resolve({ done: false, value: message });
    }
    if (this.#end?.error) return Promise.reject(this.#end.error);
    if (this.#end) return Promise.resolve({ done: true, value: undefined });
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #take(message: T): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) waiting.resolve({ done: false, value: message });
    else if (this.#queue.push(message) >= HIGH_WATER) this.#call.pause();
  }

  #ended(end: { readonly error?: MeshError }): void {
    this.#end ??= end;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (this.#end.error) waiting?.reject(this.#end.error);
    else waiting?.resolve({ done: true, value: undefined });
  }
}
