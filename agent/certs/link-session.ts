import type { LinkHello, LinkRequest, LinkResponse } from "../../proto/gen/istiod/v1/istiod.ts";
import { LinkMode, linkModeToJSON } from "../../proto/gen/istiod/v1/istiod.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Log } from "../../common/runtime/log.ts";
import { clip, MAX_VERSION } from "../../common/session/bounds.ts";
import type { CallContext } from "../../common/session/handlers.ts";
import { LINK_HEARTBEAT_MS, LINK_SILENT_HEARTBEATS } from "../../common/session/link.ts";
import type { Link, LinkBook } from "./links.ts";
import type { Assignment } from "./orders.ts";
import { podFields, type Refusals } from "./refusals.ts";
import type { PodIdentity } from "./token-reviewer.ts";

/** A pod that has opened a stream says hello at once. */
const HELLO_TIMEOUT_MS = 10_000;

/** Makes sure that no other replica of the agent holds a link of this pod. Throws `conflict` where one does. */
export type ClaimPod = (pod: PodIdentity, signal: AbortSignal) => Promise<void>;

export interface LinkSessionOptions {
  readonly book: LinkBook;
  readonly claim: ClaimPod;
  readonly refusals: Refusals;
  readonly clock: Clock;
  readonly log: Log;
  readonly stopping: AbortSignal;
  readonly requests: AsyncIterable<LinkRequest>;
  readonly send: (message: LinkResponse) => Promise<void>;
  readonly context: CallContext<PodIdentity>;
}

/**
 * Serves one stream of one pod. Returns when the pod ends it; throws `unauthenticated` at the token's expiry,
 * `unavailable` when the pod falls silent or the agent stops, `conflict` while the pod has another link.
 */
export async function serveLink(options: LinkSessionOptions): Promise<void> {
  const { context, stopping, log } = options;
  const pod = context.principal;
  const ended = new AbortController();
  const signal = AbortSignal.any([context.signal, stopping, ended.signal]);
  const incoming = options.requests[Symbol.asyncIterator]();
  const hello = await readHello(incoming, { ...options, signal });
  const link = await openLink(options, signal);
  // At once, not when the tasks below have settled: the same pod may be back within the same tick.
  context.signal.addEventListener("abort", () => link.close(), { once: true });
  const session = new LinkSession(options, link, AbortSignal.any([signal, link.displaced]));
  const fields = {
    pod: pod.podName,
    uid: pod.podUid,
    mode: linkModeToJSON(hello.mode),
    version: clip(hello.version, MAX_VERSION),
  };
  log.info("istiod-agent linked", fields);
  try {
    await Promise.race([session.read(incoming), session.sendOrders(), session.beat(), session.expire()]);
  } catch (error) {
    if (stopping.aborted) throw new MeshError("unavailable", "the agent is stopping", { hint: "link again" });
    throw link.displaced.aborted ? link.displaced.reason : error;
  } finally {
    ended.abort();
    link.close();
    log.info("istiod-agent unlinked", fields);
  }
}

async function openLink({ book, claim, refusals, context }: LinkSessionOptions, signal: AbortSignal): Promise<Link> {
  const pod = context.principal;
  try {
    await claim(pod, signal);
    signal.throwIfAborted();
    return book.open(pod);
  } catch (error) {
    if (!signal.aborted) refusals.tell({ peer: context.peer, ...podFields(pod) }, error);
    throw error;
  }
}

class LinkSession {
  readonly #options: LinkSessionOptions;
  readonly #link: Link;
  readonly #signal: AbortSignal;
  #heardAtMs: number;

  constructor(options: LinkSessionOptions, link: Link, signal: AbortSignal) {
    this.#options = options;
    this.#link = link;
    this.#signal = signal;
    this.#heardAtMs = options.clock.now();
  }

  /** Ends when the pod half-closes. */
  async read(incoming: AsyncIterator<LinkRequest>): Promise<void> {
    for (let next = await incoming.next(); next.done !== true; next = await incoming.next()) {
      this.#heardAtMs = this.#options.clock.now();
      const { message } = next.value;
      if (message?.$case === "status") this.#link.report(message.value);
      if (message?.$case === "hello") throw new MeshError("invalid_argument", "hello was sent twice");
    }
  }

  async sendOrders(): Promise<void> {
    let last = "";
    for await (const assignment of this.#options.book.assignments(this.#options.context.principal, this.#signal)) {
      const key = keyOf(assignment);
      if (key === last) continue;
      last = key;
      await this.#options.send(toResponse(assignment));
    }
    this.#signal.throwIfAborted();
  }

  async beat(): Promise<never> {
    const { clock, send } = this.#options;
    for (;;) {
      await clock.sleep(LINK_HEARTBEAT_MS, this.#signal);
      const silentMs = clock.now() - this.#heardAtMs;
      if (silentMs > LINK_HEARTBEAT_MS * LINK_SILENT_HEARTBEATS) {
        throw new MeshError("unavailable", `the istiod-agent was silent for ${silentMs} ms`);
      }
      await send({ message: { $case: "heartbeat", value: new Date(clock.now()) } });
    }
  }

  async expire(): Promise<never> {
    const { clock, context } = this.#options;
    await clock.sleep(context.principal.expiresAtMs - clock.now(), this.#signal);
    throw new MeshError("unauthenticated", "the token of this link has expired", {
      hint: "open it with a fresh token",
    });
  }
}

async function readHello(
  incoming: AsyncIterator<LinkRequest>,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<LinkHello> {
  const read = new AbortController();
  const late = clock.sleep(HELLO_TIMEOUT_MS, AbortSignal.any([signal, read.signal])).then(() => {
    throw new MeshError("deadline_exceeded", `no hello within ${HELLO_TIMEOUT_MS} ms`);
  });
  try {
    const first = await Promise.race([incoming.next(), late]);
    const message = first.done === true ? undefined : first.value.message;
    if (message?.$case !== "hello") throw new MeshError("invalid_argument", "the first message must be a hello");
    if (message.value.mode !== LinkMode.LINK_MODE_INIT && message.value.mode !== LinkMode.LINK_MODE_SIDECAR) {
      throw new MeshError("invalid_argument", `hello names no mode that is known: ${message.value.mode}`);
    }
    return message.value;
  } finally {
    read.abort();
  }
}

const keyOf = (assignment: Assignment): string =>
  assignment.kind === "order" ? assignment.order.version.toString("hex") : `none: ${assignment.reason}`;

function toResponse(assignment: Assignment): LinkResponse {
  return assignment.kind === "order"
    ? { message: { $case: "order", value: assignment.order } }
    : { message: { $case: "noOrder", value: { reason: assignment.reason } } };
}
