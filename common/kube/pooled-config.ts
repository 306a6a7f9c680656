import { createHash } from "node:crypto";
import { KubeConfig, type RequestContext } from "@kubernetes/client-node";

type Dispatcher = NonNullable<ReturnType<RequestContext["getDispatcher"]>>;

/**
 * A KubeConfig whose requests share one pool of connections; the library makes a pool per request, with a TLS
 * handshake each. A changed CA or client certificate (files are read per request) gets a new pool.
 */
export class PooledKubeConfig extends KubeConfig {
  #pool: { readonly dispatcher: Dispatcher; readonly options: string } | undefined;
  #options = "";

  /** What connections are made with, as a hash, since it holds a private key. */
  override createDispatcherOptions(
    ...args: Parameters<KubeConfig["createDispatcherOptions"]>
  ): ReturnType<KubeConfig["createDispatcherOptions"]> {
    const options = super.createDispatcherOptions(...args);
    this.#options = createHash("sha256").update(JSON.stringify(options)).digest("hex");
    return options;
  }

  override async applySecurityAuthentication(context: RequestContext): Promise<void> {
    await super.applySecurityAuthentication(context);
    const fresh = context.getDispatcher();
    if (!fresh) return;
    if (this.#pool?.options !== this.#options) {
      // Requests under way end on the old connections; a watch is asked to end by its server within minutes.
      this.#pool?.dispatcher.close().catch(() => undefined);
      this.#pool = { dispatcher: fresh, options: this.#options };
    }
    context.setDispatcher(this.#pool.dispatcher);
  }

  /** Ends all connections; what is under way fails. The next request makes new ones. */
  dropConnections(): void {
    this.#pool?.dispatcher.destroy().catch(() => undefined);
    this.#pool = undefined;
  }
}
