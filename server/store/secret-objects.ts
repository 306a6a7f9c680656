import { createHash } from "node:crypto";
import { refKey } from "../../common/api/meta.ts";
import { createObject, replaceObject } from "../../common/kube/objects.ts";
import { Reflector } from "../../common/kube/reflector.ts";
import type { KubeObject, ResourceType } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { runTasks, type Task } from "../../common/runtime/tasks.ts";
import type { ApiServerContext } from "./kubernetes-context.ts";
import { SeenObjects } from "./seen-objects.ts";

/** A Secret as an API server gives it. */
export interface Secret extends KubeObject {
  /** Base64. */
  readonly data?: Readonly<Record<string, string>>;
}

/** Data of a Secret, decoded. */
export type Files = Readonly<Record<string, string>>;

const SECRETS: ResourceType = { apiVersion: "v1", kind: "Secret", plural: "secrets" };
const FIELD_MANAGER = "enterprise-networking";
const CREATED_BY = "relay.mesh.gloo.solo.io/created-by";
/** SHA-256 of what this program wrote: whoever changes the data later makes the Secret his own. */
const CONTENT = "relay.mesh.gloo.solo.io/content-sha256";

/** Some Secrets of the namespace, each followed by its name: the right to read others is not needed. */
export class SecretObjects {
  /** Set whenever one of them changed. */
  readonly changes = new Latest<number>();
  readonly #context: ApiServerContext;
  readonly #reflectors: ReadonlyMap<string, Reflector>;
  readonly #seen: SeenObjects;

  constructor(context: ApiServerContext, names: readonly string[]) {
    this.#context = context;
    this.#seen = new SeenObjects(context.clock);
    const reflector = (name: string) =>
      new Reflector({ ...context, type: SECRETS, fieldSelector: `metadata.name=${name}` });
    this.#reflectors = new Map(names.map((name) => [name, reflector(name)]));
  }

  /** True once all were looked for. */
  get isSynced(): boolean {
    return [...this.#reflectors.values()].every(({ objects }) => objects.value !== undefined);
  }

  /** undefined where there is none. */
  get(name: string): Secret | undefined {
    const key = this.#keyOf(name);
    return this.#seen.newest(key, this.#reflectors.get(name)?.objects.value?.get(key));
  }

  /** Makes the Secret; undefined when there is one already, which the watch is about to tell. */
  async create(name: string, files: Files): Promise<Secret | undefined> {
    const { namespace } = this.#context;
    const data = encode(files);
    const annotations = { [CONTENT]: hashOf(data) };
    const metadata = { name, namespace, labels: { [CREATED_BY]: FIELD_MANAGER }, annotations };
    const type = "tls.key" in data ? "kubernetes.io/tls" : "Opaque";
    return this.#write(name, createObject, { metadata, type, data });
  }

  /** Replaces the data of a Secret that still is what was read; undefined when it is not. */
  async replace(secret: Secret, files: Files): Promise<Secret | undefined> {
    const data = encode(files);
    const annotations = { ...secret.metadata.annotations, [CONTENT]: hashOf(data) };
    return this.#write(secret.metadata.name, replaceObject, {
      ...secret,
      metadata: { ...secret.metadata, annotations },
      data,
    });
  }

  /** Follows them until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const tasks = [...this.#reflectors].flatMap(([name, reflector]): [string, Task][] => [
      [name, (stop) => reflector.run(stop)],
      [`${name} changes`, (stop) => this.#follow(name, reflector, stop)],
    ]);
    await runTasks(signal, Object.fromEntries(tasks));
  }

  async #follow(name: string, { objects }: Reflector, signal: AbortSignal): Promise<void> {
    const key = this.#keyOf(name);
    let uid: string | undefined;
    for await (const heard of objects.watch(signal)) {
      const now = heard.get(key)?.metadata.uid;
      if (uid !== undefined && uid !== now) this.#seen.gone(key, uid);
      uid = now;
      this.#touch();
    }
  }

  async #write(name: string, how: typeof createObject, object: Parameters<typeof createObject>[1]["object"]) {
    const { client, stop } = this.#context;
    try {
      const written: Secret = await how(client, { type: SECRETS, object, fieldManager: FIELD_MANAGER }, stop);
      this.#seen.add(this.#keyOf(name), written);
      this.#touch();
      return written;
    } catch (thrown) {
      if (["conflict", "not_found"].includes(MeshError.from(thrown).code)) return undefined;
      throw thrown;
    }
  }

  #touch(): void {
    this.changes.set((this.changes.value ?? 0) + 1);
  }

  #keyOf(name: string): string {
    return refKey({ namespace: this.#context.namespace, name });
  }
}

/** Whether this program made all that is in it; what somebody else made is his to change. */
export const isOurs = ({ metadata: { labels, annotations }, data = {} }: Secret): boolean =>
  labels?.[CREATED_BY] === FIELD_MANAGER && annotations?.[CONTENT] === hashOf(data);

/** The data as text. */
export const filesOf = ({ data = {} }: Secret): Files =>
  Object.fromEntries(
    Object.entries(data).map(([name, value]) => [name, Buffer.from(value, "base64").toString("utf8")]),
  );

function hashOf(data: Readonly<Record<string, string>>): string {
  const entries = Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(entries)).digest("hex");
}

const encode = (files: Files): Record<string, string> =>
  Object.fromEntries(Object.entries(files).map(([name, text]) => [name, Buffer.from(text).toString("base64")]));
