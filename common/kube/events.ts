import { randomBytes } from "node:crypto";
import type { ObjectMeta } from "../api/meta.ts";
import type { Clock, Random } from "../runtime/clock.ts";
import { MeshError } from "../runtime/errors.ts";
import { Latest } from "../runtime/latest.ts";
import type { Log } from "../runtime/log.ts";
import { Backoff } from "../runtime/retry.ts";
import type { KubeClient } from "./client.ts";
import { EventBook, type EventWrite } from "./event-book.ts";
import { createObject, mergeObject } from "./objects.ts";
import type { ResourceType } from "./resource-type.ts";

/** Something that people should find with `kubectl describe`. It holds no secret, and is no place for state. */
export interface EventFacts {
  /** The object it is about. */
  readonly regarding: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly metadata: Pick<ObjectMeta, "name" | "namespace" | "uid">;
  };
  readonly type: "Normal" | "Warning";
  /** One word in CamelCase, for machines: "Enrolled". */
  readonly reason: string;
  /** One word in CamelCase: what was done or tried, "Enroll". */
  readonly action: string;
  /** One sentence for people. */
  readonly note: string;
}

export interface EventRecorderOptions {
  readonly client: KubeClient;
  /** Name of the program, "enterprise-networking". */
  readonly program: string;
  /** Name of the replica. */
  readonly replica: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const EVENTS: ResourceType = { apiVersion: "events.k8s.io/v1", kind: "Event", plural: "events" };
const BACKOFF = { baseMs: 1_000, capMs: 60_000 };
/** What the API server takes. */
const MAX_NOTE = 1_024;
const MAX_INSTANCE = 128;

/**
 * Writes Kubernetes Events. The same one again within ten minutes counts up the first; an object gets only so many, and
 * what cannot be written in time is dropped: whoever records never waits, and never fails.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #book = new EventBook();
  readonly #dirty = new Latest<number>(0);
  readonly #backoff: Backoff;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ ...BACKOFF, random: options.random });
  }

  record(event: EventFacts): void {
    if (this.#book.take(event, this.#options.clock.now())) this.#dirty.set((this.#dirty.value ?? 0) + 1);
  }

  /** Writes until `signal` is aborted. An API server that is away is waited for; what it refuses is dropped. */
  async run(signal: AbortSignal): Promise<void> {
    for await (const _ of this.#dirty.watch(signal)) {
      for (let write = this.#book.next(); write && !signal.aborted; write = this.#book.next()) {
        await this.#try(write, signal);
      }
    }
  }

  async #try(write: EventWrite, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    try {
      await this.#write(write, signal);
      this.#book.written(write);
      this.#backoff.reset();
    } catch (thrown) {
      const error = MeshError.from(thrown);
      if (signal.aborted) return;
      if (error.retriable) {
        await clock.sleep(this.#backoff.next(error.retryAfterMs), signal).catch(() => undefined);
        return;
      }
      this.#book.dropped(write);
      const { kind, metadata } = write.event.regarding;
      log.warn("event cannot be written", {
        object: `${kind} ${metadata.name}`,
        reason: write.event.reason,
        err: error,
      });
    }
  }

  async #write({ event, name, count, firstMs, lastMs }: EventWrite, signal: AbortSignal): Promise<void> {
    const { client, program: fieldManager } = this.#options;
    const { namespace = "default" } = event.regarding.metadata;
    const series = { count, lastObservedTime: microTime(lastMs) };
    if (count > 1) {
      try {
        const place = { namespace, name };
        await mergeObject(client, { type: EVENTS, place, patch: { series }, fieldManager }, signal);
        return;
      } catch (thrown) {
        // An API server keeps events for an hour.
        if (MeshError.from(thrown).code !== "not_found") throw thrown;
      }
    }
    const object = {
      metadata: { namespace, name: count > 1 ? `${name}-${randomBytes(2).toString("hex")}` : name },
      eventTime: microTime(firstMs),
      ...(count > 1 && { series }),
      ...this.#body(event),
    };
    await createObject(client, { type: EVENTS, object, fieldManager }, signal).catch((thrown: unknown) => {
      // The answer to the first attempt was lost.
      if (MeshError.from(thrown).code !== "conflict") throw thrown;
    });
  }

  #body({ regarding: { apiVersion, kind, metadata }, type, reason, action, note }: EventFacts) {
    const { program, replica } = this.#options;
    const { name, namespace, uid } = metadata;
    return {
      regarding: { apiVersion, kind, name, ...(namespace && { namespace }), ...(uid && { uid }) },
      ...{ type, reason, action },
      note: note.slice(0, MAX_NOTE),
      reportingController: `mesh.gloo.solo.io/${program}`,
      reportingInstance: replica.slice(0, MAX_INSTANCE),
    };
  }
}

/** metav1.MicroTime insists on six digits. */
const microTime = (ms: number): string => new Date(ms).toISOString().replace("Z", "000Z");
