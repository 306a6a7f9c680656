import { HttpMethod, IsomorphicFetchHttpLibrary, RequestContext, Watch } from "@kubernetes/client-node";
import { MeshError } from "../runtime/errors.ts";
import { connectionError, isTlsFault, refusalError } from "./errors.ts";
import { type ExecRequest, execInPod } from "./exec.ts";
import { loadKubeconfig } from "./kubeconfig.ts";
import type { PooledKubeConfig } from "./pooled-config.ts";

/** One request, its address below the API server's. */
export interface KubeRequest {
  /** Words for messages: "list virtualmeshes". */
  readonly what: string;
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** As `resourcePath` gives it. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: object;
  /** Of the body; default application/json. */
  readonly contentType?: string;
}

/** A watch to open. */
export interface WatchRequest extends Pick<KubeRequest, "what" | "path" | "query"> {
  /** Milliseconds without a byte after which the connection counts as dead. */
  readonly idleMs: number;
  /** Called when the API server has begun to answer. */
  readonly onOpen: () => void;
  /** Called for each event in order. What it throws ends the watch. */
  readonly onEvent: (type: string, object: unknown) => void;
}

const DEADLINE_MS = 30_000;

/** The connection to one API server: one pool of connections, whose errors are MeshErrors that hold no token. */
export class KubeClient {
  readonly #config: PooledKubeConfig;
  readonly #server: string;
  /** Name of the kubeconfig's context; a pod's own cluster has a made-up one. */
  readonly context: string;

  private constructor(config: PooledKubeConfig) {
    this.#config = config;
    this.#server = config.getCurrentCluster()?.server ?? "";
    this.context = config.getCurrentContext();
  }

  /**
   * For a context of a kubeconfig file, read once, or for the pod's own cluster where no file is given. Throws
   * `config_invalid`. Connects to nothing.
   */
  static open(file: string | undefined, context?: string): KubeClient {
    return new KubeClient(loadKubeconfig({ file, context }));
  }

  /** The parsed answer. Throws MeshErrors: those of `refusalError`, `unavailable`, `deadline_exceeded` after 30 s. */
  async call(request: KubeRequest, signal: AbortSignal): Promise<unknown> {
    const { what } = request;
    let status: number;
    let text: string;
    try {
      const context = this.#contextOf(request);
      context.setSignal(AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]));
      await this.#config.applySecurityAuthentication(context);
      const answer = await new IsomorphicFetchHttpLibrary().send(context).toPromise();
      status = answer.httpStatusCode;
      text = await answer.body.text();
    } catch (thrown) {
      signal.throwIfAborted();
      throw this.#lost(what, thrown);
    }
    const body = parseJson(text);
    if (status < 200 || status > 299) throw refusalError(what, status, body);
    if (body === undefined) throw new MeshError("unavailable", `api server's answer to ${what} is no JSON`);
    return body;
  }

  /**
   * Hands on events until the API server ends the watch, and resolves then; also when `signal` is aborted. Rejects
   * like `call`, with `deadline_exceeded` on a connection that fell silent, and with what `onEvent` throws.
   */
  async watch(request: WatchRequest, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { what, path, query, idleMs, onOpen, onEvent } = request;
    const watch = new Watch(this.#config);
    // The library's own 30 s are less than the minute between two bookmarks; it offers no other way to set it.
    Object.defineProperty(watch, "requestTimeoutMs", { value: idleMs });
    const stop = new AbortController();
    const ended = Promise.withResolvers<undefined>();
    const finish = (thrown?: unknown): void => {
      if (thrown) ended.reject(this.#watchError(what, thrown));
      else ended.resolve(undefined);
      stop.abort();
    };
    // The library drops what a callback throws.
    const guarded = (work: () => void): void => {
      try {
        if (!stop.signal.aborted) work();
      } catch (thrown) {
        finish(thrown);
      }
    };
    const abort = (): void => finish();
    signal.addEventListener("abort", abort, { once: true });
    // It resolves with the answer's head, which may never come: so nobody waits for that alone.
    watch
      .watch(path, { ...query }, (type, object: unknown) => guarded(() => onEvent(type, object)), finish)
      .then((running) => {
        stop.signal.addEventListener("abort", () => running.abort(), { once: true });
        if (stop.signal.aborted) running.abort();
        guarded(onOpen);
      }, finish);
    try {
      await ended.promise;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** Runs a command in a container; see `execInPod`. */
  async exec(request: ExecRequest, signal: AbortSignal): Promise<void> {
    await execInPod(this.#config, request, signal);
  }

  /** Ends all connections; what is under way fails. The next request makes new ones. */
  close(): void {
    this.#config.dropConnections();
  }

  #contextOf({ method, path, query = {}, body, contentType = "application/json" }: KubeRequest): RequestContext {
    const url = new URL(this.#server.replace(/\/$/, "") + path);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const context = new RequestContext(url.href, HttpMethod[method]);
    context.setHeaderParam("Accept", "application/json");
    if (body) {
      context.setHeaderParam("Content-Type", contentType);
      context.setBody(JSON.stringify(body));
    }
    return context;
  }

  #watchError(what: string, thrown: unknown): MeshError {
    const { statusCode } = (thrown ?? {}) as { readonly statusCode?: unknown };
    return typeof statusCode === "number" ? refusalError(what, statusCode, undefined) : this.#lost(what, thrown);
  }

  /** After a failed handshake nothing of the pool is of use: the CA may have been replaced. */
  #lost(what: string, thrown: unknown): MeshError {
    if (isTlsFault(thrown)) this.close();
    return connectionError(what, thrown);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
