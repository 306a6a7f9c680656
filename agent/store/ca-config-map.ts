import { refKey } from "../../common/api/meta.ts";
import { Reflector } from "../../common/kube/reflector.ts";
import type { KubeObject, ResourceType } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { Backoff, retry } from "../../common/runtime/retry.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import { caKeyOf, pruneCa, PUBLISHED_CA, publishCa, staleKeys } from "../certs/published-ca.ts";
import type { KubernetesContext } from "./kubernetes-context.ts";

export interface CaConfigMapOptions {
  readonly context: KubernetesContext;
  readonly leading: Latest<boolean>;
  /** True for a replica of the agent that surely is no more. */
  readonly isReplicaGone: (replica: string) => boolean;
  /** Set when that may have changed. */
  readonly replicas: Latest<unknown>;
}

const CONFIG_MAPS: ResourceType = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps" };
const BACKOFF = { baseMs: 500, capMs: 60_000 };

/**
 * The ConfigMap from which istiod-agents read what verifies 9977: a key for each replica, which puts it back when somebody
 * takes it away. The leader takes away those of replicas that are gone.
 */
export class CaConfigMap {
  readonly #options: CaConfigMapOptions;
  readonly #reflector: Reflector;
  readonly #key: string;
  #caPem: string | undefined;

  constructor(options: CaConfigMapOptions) {
    this.#options = options;
    const { owner, replica, client, clock, random, log } = options.context;
    this.#key = caKeyOf(replica);
    this.#reflector = new Reflector({
      ...{ client, clock, random, log, type: CONFIG_MAPS },
      namespace: owner.namespace,
      fieldSelector: `metadata.name=${PUBLISHED_CA}`,
    });
  }

  /** Resolves when it is stored; whatever goes wrong until then is waited out. */
  async publish(caPem: string, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#options.context;
    const onRetry = (err: MeshError): void => log.warn("the certificates of 9977 cannot be published", { err });
    const work = (): Promise<void> => this.#write(caPem, signal).catch(asRetriable);
    await retry(work, { ...BACKOFF, clock, random, signal, onRetry });
    this.#caPem = caPem;
  }

  /** Keeps it as it shall be until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    await runTasks(signal, {
      follow: (stop) => this.#reflector.run(stop),
      keep: (stop) => this.#keep(stop),
    });
  }

  async #keep(signal: AbortSignal): Promise<void> {
    const { context, leading, replicas } = this.#options;
    const backoff = new Backoff({ ...BACKOFF, random: context.random });
    for await (const _ of Latest.changes([this.#reflector.objects, leading, replicas], signal)) {
      try {
        if (await this.#mend(signal)) await context.clock.sleep(backoff.next(), signal).catch(() => undefined);
        else backoff.reset();
      } catch (thrown) {
        if (signal.aborted) return;
        context.log.warn("the certificates of 9977 cannot be published", { err: MeshError.from(thrown) });
        await context.clock.sleep(backoff.next(), signal).catch(() => undefined);
      }
    }
  }

  /** Returns whether there was something to do. */
  async #mend(signal: AbortSignal): Promise<boolean> {
    const { context, leading, isReplicaGone } = this.#options;
    const found = this.#reflector.objects.value?.get(
      refKey({ namespace: context.owner.namespace, name: PUBLISHED_CA }),
    );
    if (this.#reflector.objects.value === undefined || this.#caPem === undefined) return false;
    const { data = {} } = (found ?? {}) as KubeObject & { readonly data?: Readonly<Record<string, string>> };
    const isMissing = data[this.#key] !== this.#caPem;
    if (isMissing) await this.#write(this.#caPem, signal);
    const dead = found ? staleKeys(found, (replica) => replica !== context.replica && isReplicaGone(replica)) : [];
    if (!leading.value || dead.length === 0) return isMissing;
    context.log.info("replicas of the agent are gone; taking their certificates away", { keys: dead });
    await pruneCa({ client: context.client, namespace: context.owner.namespace }, dead, signal);
    return true;
  }

  #write(caPem: string, signal: AbortSignal): Promise<void> {
    const { client, owner, replica } = this.#options.context;
    return publishCa({ client, namespace: owner.namespace, replica }, caPem, signal);
  }
}

/** A right that is missing, or a namespace, can come: nobody restarts the agent for it. */
function asRetriable(thrown: unknown): never {
  const { code, message, hint } = MeshError.from(thrown);
  throw new MeshError(code, message, { retriable: true, ...(hint && { hint }) });
}
