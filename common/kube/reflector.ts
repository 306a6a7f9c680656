import type { Clock, Random } from "../runtime/clock.ts";
import { MeshError } from "../runtime/errors.ts";
import { Latest } from "../runtime/latest.ts";
import type { Log } from "../runtime/log.ts";
import { Backoff } from "../runtime/retry.ts";
import type { KubeClient } from "./client.ts";
import { httpStatusOf, isExpired } from "./errors.ts";
import { type Keep, listPage, Reflection } from "./reflection.ts";
import { type KubeObject, resourcePath, type ResourceType } from "./resource-type.ts";

export interface ReflectorOptions {
  readonly client: KubeClient;
  readonly type: ResourceType;
  /** Without one: all namespaces. */
  readonly namespace?: string;
  /** "metadata.name=istio": only these. A right that names its objects is enough then. */
  readonly fieldSelector?: string;
  /** What is kept of each object, before anything is stored. Default: all but managedFields. */
  readonly keep?: Keep;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Objects per page; default 500. */
  readonly pageSize?: number;
  /** Silence after which a watch counts as dead; default 90 s, since a bookmark comes each minute. */
  readonly idleMs?: number;
}

/** A collection as it was at one version. */
interface Listed {
  readonly objects: readonly KubeObject[];
  readonly resourceVersion: string;
}

/** Life asked for a watch: at least this, and up to twice as long, so that many do not end at once. */
const WATCH_SECONDS = 300;
/** A watch that ended sooner is followed by a wait, lest a server that closes each at once be hammered. */
const SHORT_WATCH_MS = 1_000;
const BACKOFF = { baseMs: 250, capMs: 10_000 };

/** Keeps a copy of a collection of an API server, whatever becomes of the connection. */
export class Reflector {
  /** The collection by `refKey`. Set once it was listed whole: that is the sign of being synced; then on each change. */
  readonly objects = new Latest<ReadonlyMap<string, KubeObject>>();
  /** Why the copy may be outdated; null while it follows. */
  readonly fault = new Latest<MeshError | null>();
  readonly #options: ReflectorOptions;
  readonly #reflection: Reflection;
  readonly #backoff: Backoff;
  #isPublishing = false;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#reflection = new Reflection(options.type, options.keep);
    this.#backoff = new Backoff({ ...BACKOFF, random: options.random });
  }

  /** Lists and watches until `signal` is aborted. Every fault is waited out; the copy stays as it was meanwhile. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#step(signal);
      } catch (thrown) {
        await this.#failed(MeshError.from(thrown), signal);
      }
    }
  }

  async #step(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const resourceVersion = this.#reflection.resourceVersion;
    if (resourceVersion === undefined) {
      await this.#list(signal);
      this.#setFault(null);
      return;
    }
    const startMs = clock.now();
    const isShort = (): boolean => clock.now() - startMs < SHORT_WATCH_MS;
    try {
      await this.#watch(resourceVersion, signal);
    } finally {
      if (!isShort()) this.#backoff.reset();
    }
    if (isShort()) await clock.sleep(this.#backoff.next(), signal);
  }

  async #failed(error: MeshError, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    // A lost connection can be taken up where it ended, and a busy server be asked again (one that has just started is
    // busy reading its store); any other refusal may mean that the history is gone or was restored from a backup.
    if (httpStatusOf(error) !== undefined && error.code !== "resource_exhausted") this.#reflection.expire();
    this.#setFault(error);
    await this.#options.clock.sleep(this.#backoff.next(error.retryAfterMs), signal).catch(() => undefined);
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { pageSize = 500 } = this.#options;
    const { objects, resourceVersion } = await this.#pages(pageSize, signal).catch((thrown: unknown) => {
      const error = MeshError.from(thrown);
      if (!isExpired(error)) throw error;
      // The pages took longer than the API server keeps their version: one answer without pages cannot expire.
      return this.#pages(0, signal);
    });
    this.#reflection.list(objects, resourceVersion);
    this.#publish();
  }

  /** `limit` 0 asks for all at once. */
  async #pages(limit: number, signal: AbortSignal): Promise<Listed> {
    const objects: KubeObject[] = [];
    let token: string | undefined;
    for (;;) {
      const query = { ...this.#selector, limit: String(limit), ...(token === undefined ? {} : { continue: token }) };
      const what = `list ${this.#options.type.plural}`;
      const page = listPage(await this.#options.client.call({ what, method: "GET", path: this.#path, query }, signal));
      objects.push(...this.#reflection.read(page.items));
      token = page.continueToken;
      if (token === undefined) return { objects, resourceVersion: page.resourceVersion };
    }
  }

  async #watch(resourceVersion: string, signal: AbortSignal): Promise<void> {
    const { client, type, random, idleMs = 90_000 } = this.#options;
    const state = { isOpen: false };
    const timeoutSeconds = String(Math.round(WATCH_SECONDS * (1 + random())));
    const request = {
      what: `watch ${type.plural}`,
      path: this.#path,
      query: { ...this.#selector, resourceVersion, timeoutSeconds, allowWatchBookmarks: "true" },
      idleMs,
      onOpen: () => {
        state.isOpen = true;
        this.#setFault(null);
      },
      onEvent: (event: string, object: unknown) => {
        if (this.#reflection.event(event, object)) this.#publishSoon();
      },
    };
    try {
      await client.watch(request, signal);
    } catch (thrown) {
      // A collection in which nothing happens gets no bookmarks, either: a new watch tells whether anybody is there.
      if (!state.isOpen || MeshError.from(thrown).code !== "deadline_exceeded") throw thrown;
    }
  }

  get #selector(): Readonly<Record<string, string>> {
    const { fieldSelector } = this.#options;
    return fieldSelector === undefined ? {} : { fieldSelector };
  }

  get #path(): string {
    const { type, namespace } = this.#options;
    return resourcePath(type, namespace === undefined ? {} : { namespace });
  }

  /** Once for all events that came in one piece: a copy of the whole per event would be slow for thousands. */
  #publishSoon(): void {
    if (this.#isPublishing) return;
    this.#isPublishing = true;
    queueMicrotask(() => this.#publish());
  }

  #publish(): void {
    this.#isPublishing = false;
    this.objects.set(this.#reflection.snapshot());
  }

  /** Says it when the copy stops following and when it follows again, not once per attempt. */
  #setFault(fault: MeshError | null): void {
    const before = this.fault.value ?? null;
    if (before?.message === fault?.message) return;
    this.fault.set(fault);
    const { log, type } = this.#options;
    if (fault) log.warn("collection of the api server cannot be followed", { kind: type.kind, err: fault });
    else log.info("collection of the api server is followed again", { kind: type.kind });
  }
}
