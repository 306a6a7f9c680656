import { once } from "node:events";
import type { handleBidiStreamingCall, handleServerStreamingCall, handleUnaryCall, Metadata } from "@grpc/grpc-js";
import { MeshError } from "../runtime/errors.ts";
import { Inbox } from "./inbox.ts";
import { toStatus } from "./status.ts";

/** What a handler knows about its caller. `P` is what the listener's authorization made of it. */
export interface CallContext<P> {
  readonly principal: P;
  /** Address of the peer, for people. */
  readonly peer: string;
  /** Aborted when the call is cancelled or its connection is gone. */
  readonly signal: AbortSignal;
}

/** The sending end of a call. */
export interface Send<T> {
  /** Writes one message; resolves when there is room for the next one, rejects when the call is over. */
  (message: T): Promise<void>;
  /** Writes one message without waiting; false when the peer is slow and the next one should wait for `onDrain`. */
  readonly now: (message: T) => boolean;
  /** Calls back once when there is room again. */
  readonly onDrain: (callback: () => void) => void;
}

/** Principals by the metadata object of their call: the one thing that authorization and handler both see. */
const principals = new WeakMap<Metadata, unknown>();

/** For the listener's authorization alone. */
export const rememberPrincipal = (metadata: Metadata, principal: unknown): void =>
  void principals.set(metadata, principal);

/** What every kind of call has. */
interface ServerCall extends NodeJS.EventEmitter {
  readonly metadata: Metadata;
  getPeer(): string;
}

/** `cancelled` fires after a normal finish too, so a call that has finished no longer aborts its signal. */
function contextOf<P>(call: ServerCall): { context: CallContext<P>; finish: () => void } {
  const controller = new AbortController();
  let finished = false;
  const abort = (): void => {
    if (!finished) controller.abort(new MeshError("canceled", "the call was cancelled by its caller"));
  };
  call.on("cancelled", abort);
  call.on("error", abort);
  call.on("close", abort);
  const context = { principal: principals.get(call.metadata) as P, peer: call.getPeer(), signal: controller.signal };
  return { context, finish: () => void (finished = true) };
}

/** Adapts a promise to a unary method. A thrown error becomes its status; it never ends the process. */
export function unary<Req, Res, P>(
  handler: (request: Req, context: CallContext<P>) => Promise<Res>,
): handleUnaryCall<Req, Res> {
  return (call, callback) => {
    const { context, finish } = contextOf<P>(call);
    handler(call.request, context).then(
      (response) => {
        finish();
        callback(null, response);
      },
      (error: unknown) => {
        finish();
        callback(toStatus(error));
      },
    );
  };
}

export function serverStream<Req, Res, P>(
  handler: (request: Req, send: Send<Res>, context: CallContext<P>) => Promise<void>,
): handleServerStreamingCall<Req, Res> {
  return (call) => {
    const { context, finish } = contextOf<P>(call);
    settle(call, handler(call.request, sender(call, context.signal), context), { signal: context.signal, finish });
  };
}

/**
 * Adapts an async function to a bidirectional method. `requests` ends when the peer half-closes; the call ends when the
 * handler returns (status OK) or throws.
 */
export function bidi<Req, Res, P>(
  handler: (requests: AsyncIterable<Req>, send: Send<Res>, context: CallContext<P>) => Promise<void>,
): handleBidiStreamingCall<Req, Res> {
  return (call) => {
    const { context, finish } = contextOf<P>(call);
    const requests = new Inbox<Req>(call);
    settle(call, handler(requests, sender(call, context.signal), context), { signal: context.signal, finish });
  };
}

/** What sending and ending need of a call, whichever kind it is. */
interface WritableCall<Res> extends NodeJS.EventEmitter {
  write(message: Res): boolean;
  end(): unknown;
}

function sender<Res>(call: WritableCall<Res>, signal: AbortSignal): Send<Res> {
  const send = async (message: Res): Promise<void> => {
    signal.throwIfAborted();
    if (!call.write(message)) await once(call, "drain", { signal });
  };
  return Object.assign(send, {
    now: (message: Res) => call.write(message),
    onDrain: (callback: () => void) => void call.once("drain", callback),
  });
}

function settle<Res>(
  call: WritableCall<Res>,
  work: Promise<void>,
  { signal, finish }: { signal: AbortSignal; finish: () => void },
): void {
  work.then(
    () => {
      finish();
      call.end();
    },
    (error: unknown) => {
      finish();
      if (!signal.aborted) call.emit("error", toStatus(error));
    },
  );
}
