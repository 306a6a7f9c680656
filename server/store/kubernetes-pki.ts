import { certificateFacts } from "../../common/pki/certificate.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import { foreignCa, LoadedPki } from "../identity/loaded-pki.ts";
import { makeRoot, makeServer, makeSigning } from "../identity/make-relay-ca.ts";
import type { RelayPki, RotationStage, ServerTlsCredentials } from "../identity/pki.ts";
import { type RelayCa, type ServerNames, SigningCa } from "../identity/relay-ca.ts";
import {
  RELAY_SECRETS,
  readRoot,
  readServer,
  readSigning,
  type RelayRoot,
  type ServerFiles,
} from "../identity/relay-secrets.ts";
import type { ApiServerContext } from "./kubernetes-context.ts";
import { advanceRoot, stageOf } from "./kubernetes-rotation.ts";
import { type Files, filesOf, isOurs, type Secret, SecretObjects } from "./secret-objects.ts";

export interface KubernetesPkiOptions extends ApiServerContext {
  readonly names: ServerNames;
  /** True: all certificates are made by somebody else, and none is made here. */
  readonly ownCertificates: boolean;
  /** How many clusters hold a certificate of the relay; undefined while that is not known. */
  readonly enrolled: () => number | undefined;
}

/** Share of a certificate's life after which the server's own is made anew; replicas do not do it at once. */
const RENEW_AT = 0.65;
const RENEW_SPREAD = 0.05;
/** Certificates are looked at this often when nothing changes, and a fault is tried again. */
const LOOK_MS = 60_000;
const RETRY_MS = 2_000;
/** What was written is in force here within moments. */
const ADVANCE_MS = 10_000;
const { root: ROOT, rootKey: ROOT_KEY, signing: SIGNING, server: SERVER } = RELAY_SECRETS;

/** The relay's certificates in Secrets of the reference's names: made where they are absent, never overwritten. */
export class KubernetesPki implements RelayPki {
  readonly #options: KubernetesPkiOptions;
  readonly #secrets: SecretObjects;
  readonly #loaded = new LoadedPki();
  readonly #renewAt: number;
  /** What this server made or found made by it: put back when it vanishes, since every agent trusts in it. */
  readonly #kept = new Map<string, Files>();
  #fault: MeshError | undefined;
  readonly #stage = new Latest<RotationStage>();

  constructor(options: KubernetesPkiOptions) {
    this.#options = options;
    this.#renewAt = RENEW_AT + RENEW_SPREAD * options.random();
    const names = options.ownCertificates ? [ROOT, SERVER] : [ROOT, ROOT_KEY, SIGNING, SERVER];
    this.#secrets = new SecretObjects(options, names);
  }

  get ca(): RelayCa {
    return this.#loaded;
  }

  get certificate(): ServerTlsCredentials {
    return this.#loaded.certificate;
  }

  get stage(): RotationStage {
    const { value } = this.#stage;
    if (!value) throw new MeshError("unavailable", this.notReady.join("; "));
    return value;
  }

  async advance(from: RotationStage): Promise<void> {
    if (this.stage !== from) throw new MeshError("conflict", `the rotation stands at ${this.stage}`);
    await advanceRoot(this.#secrets, from, this.#options.clock.now());
    const { stop } = this.#options;
    await this.#stage.until((stage) => stage !== from, AbortSignal.any([stop, AbortSignal.timeout(ADVANCE_MS)]));
  }

  /** Why there are no certificates to serve with; empty when there are. */
  get notReady(): readonly string[] {
    if (this.#loaded.isLoaded) return [];
    return [this.#fault?.message ?? "the relay's certificates have not been read yet"];
  }

  opened(signal: AbortSignal): Promise<void> {
    return this.#loaded.loaded(signal);
  }

  async run(signal: AbortSignal): Promise<void> {
    await runTasks(signal, {
      secrets: (stop) => this.#secrets.run(stop),
      certificates: (stop) => this.#keep(stop),
    });
  }

  async #keep(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const seen = this.#secrets.changes.value;
      const error = await this.#step().then(
        () => undefined,
        (thrown: unknown) => MeshError.from(thrown),
      );
      this.#setFault(error, signal);
      const changed = new AbortController();
      const waited = clock.sleep(error ? RETRY_MS : LOOK_MS, AbortSignal.any([signal, changed.signal]));
      const news = this.#secrets.changes.until((count) => count !== seen, AbortSignal.any([signal, changed.signal]));
      await Promise.race([waited, news]).catch(() => undefined);
      changed.abort();
      await Promise.allSettled([waited, news]);
    }
  }

  /** One pass: makes what is absent, loads what is there. What is loaded stays in force where this throws. */
  async #step(): Promise<void> {
    if (!this.#secrets.isSynced) return;
    const { ownCertificates, log } = this.#options;
    const root = await this.#root();
    const { ca, server } = ownCertificates ? this.#foreign(root) : await this.#own(root);
    const isNew = this.#loaded.load({ ca, server });
    this.#stage.set(stageOf(ca, root));
    if (!isNew) return;
    const { serial, notAfterMs } = certificateFacts(server.leaf);
    log.info("relay certificates loaded", {
      serial,
      notAfter: new Date(notAfterMs).toISOString(),
      trustPin: ca.trustPin,
    });
  }

  async #root(): Promise<RelayRoot> {
    const key = await this.#rootKey();
    const files = key && filesOf(key);
    const root = this.#secrets.get(ROOT) ?? (await this.#make(ROOT, () => publicPart(files ?? {})));
    return this.#read(ROOT, root, (found) => readRoot(found, files));
  }

  /** Made where there is no root either; undefined where it is kept elsewhere, or was taken away to be kept there. */
  async #rootKey(): Promise<Secret | undefined> {
    const { ownCertificates, clock } = this.#options;
    const hasRoot = this.#kept.has(ROOT) || this.#secrets.get(ROOT);
    const found = this.#secrets.get(ROOT_KEY);
    if (found || hasRoot || ownCertificates) return found;
    return this.#make(ROOT_KEY, () => makeRoot(clock.now()));
  }

  #foreign(root: RelayRoot): { ca: RelayCa; server: ServerFiles } {
    const secret = this.#secrets.get(SERVER) ?? this.#absent(SERVER);
    return { ca: foreignCa(root), server: this.#read(SERVER, secret, (files) => readServer(files, root)) };
  }

  async #own(root: RelayRoot): Promise<{ ca: RelayCa; server: ServerFiles }> {
    const { clock } = this.#options;
    const signing = this.#secrets.get(SIGNING) ?? (await this.#make(SIGNING, () => this.#makeSigning(root)));
    const chain = await this.#read(SIGNING, signing, (files) => readSigning(files, root, clock.now()));
    const ca = new SigningCa(chain, clock);
    const stored = this.#secrets.get(SERVER) ?? (await this.#make(SERVER, () => makeServer(ca, this.#options.names)));
    const secret = isOurs(stored) ? await this.#renewed(stored, ca, root) : stored;
    return { ca, server: this.#read(SERVER, secret, (files) => readServer(files, root)) };
  }

  /** Throws where the root's key is elsewhere, or the root is not the one that clusters were enrolled under. */
  async #makeSigning({ authority }: RelayRoot): Promise<Files> {
    if (authority) return makeSigning(authority, this.#options.clock.now());
    throw new MeshError(
      "failed_precondition",
      `${this.#describe(SIGNING)} is missing, and ${ROOT_KEY} holds no key of the root to make it`,
      {
        hint: `make ${SIGNING} with your authority, or start with --disable-relay-ca`,
      },
    );
  }

  /** The server's certificate, made anew where it is ours and nears its end, lacks a name, or is of another authority. */
  async #renewed(secret: Secret, ca: SigningCa, root: RelayRoot): Promise<Secret> {
    const { names, log } = this.#options;
    const reason = this.#reasonToRenew(filesOf(secret), ca, root);
    if (!reason) return secret;
    // A replica with other settings wants its own names: each keeps those of the other, else they would take turns.
    const all = reason.alsoNames
      ? { dns: union(names.dns, reason.alsoNames.dns), ip: union(names.ip, reason.alsoNames.ip) }
      : names;
    const replaced = await this.#secrets.replace(secret, await makeServer(ca, all));
    if (!replaced) throw new MeshError("unavailable", `${this.#describe(SERVER)} was changed by another replica`);
    log.info("server certificate renewed", { reason: reason.text });
    return replaced;
  }

  #reasonToRenew(files: Files, ca: SigningCa, root: RelayRoot): { text: string; alsoNames?: ServerNames } | undefined {
    let server: ServerFiles;
    try {
      server = readServer(files, root);
    } catch (thrown) {
      return { text: MeshError.from(thrown).message };
    }
    const { notBeforeMs, notAfterMs, leaf } = server;
    if (!ca.hasSigned(leaf.x509.raw)) return { text: "another authority signs now" };
    if (this.#options.clock.now() >= notBeforeMs + (notAfterMs - notBeforeMs) * this.#renewAt)
      return { text: "its end is near" };
    const { dns, ip } = this.#options.names;
    const { dnsSans: dnsNames, ipSans: ipNames } = certificateFacts(leaf);
    const missing = [
      ...dns.filter((name) => !dnsNames.includes(name)),
      ...ip.filter((name) => !leaf.x509.checkIP(name)),
    ];
    if (missing.length === 0) return undefined;
    return { text: `it lacks the name ${missing.join(", ")}`, alsoNames: { dns: dnsNames, ip: ipNames } };
  }

  async #make(name: string, make: () => Promise<Files>): Promise<Secret> {
    const { ownCertificates, enrolled, log } = this.#options;
    if (ownCertificates) return this.#absent(name);
    const kept = this.#kept.get(name);
    if (!kept && (name === ROOT || name === ROOT_KEY)) this.#checkNobodyEnrolled(enrolled());
    const made = await this.#secrets.create(name, kept ?? (await make()));
    if (!made)
      throw new MeshError("unavailable", `${this.#describe(name)} was made by another replica at the same time`);
    if (kept) log.warn("relay secret was deleted and is put back", { secret: name });
    else log.info("relay secret made", { secret: name });
    return made;
  }

  /** A new root beside clusters of an old one would shut them all out, and stand in the way of the backup. */
  #checkNobodyEnrolled(count: number | undefined): void {
    if (count === undefined) throw new MeshError("unavailable", "the clusters have not been read yet");
    if (count === 0) return;
    throw new MeshError(
      "failed_precondition",
      `${this.#describe(ROOT)} is missing, and ${count} clusters are enrolled under it`,
      {
        hint: `restore it from a backup; or, to enrol all of them anew, delete their KubernetesClusters`,
      },
    );
  }

  #absent(name: string): never {
    throw new MeshError("failed_precondition", `${this.#describe(name)} is missing`, {
      hint: "make it: with --disable-relay-ca the server makes no certificates",
    });
  }

  #read<T>(name: string, secret: Secret, read: (files: Files) => T): T {
    const files = filesOf(secret);
    const named = (thrown: unknown): never => {
      const { code, message } = MeshError.from(thrown);
      throw new MeshError(code, `${this.#describe(name)}: ${message}`, {
        cause: thrown,
        hint: `mend it; it is not touched, and what was loaded before stays in force`,
      });
    };
    try {
      const content = read(files);
      if (isOurs(secret) && name !== SERVER) this.#kept.set(name, files);
      if (content instanceof Promise) return content.catch(named) as T;
      return content;
    } catch (thrown) {
      return named(thrown);
    }
  }

  #describe(name: string): string {
    return `secret ${this.#options.namespace}/${name}`;
  }

  /** Said once, not with each attempt; another replica at the same work, and an API server that is away, pass by. */
  #setFault(fault: MeshError | undefined, signal: AbortSignal): void {
    const isNew = fault && fault.message !== this.#fault?.message;
    this.#fault = fault;
    if (!isNew || fault.code === "unavailable" || signal.aborted) return;
    this.#options.log.error("relay certificates cannot be loaded", { err: fault });
  }
}

const publicPart = ({ "ca.crt": root = "" }: Files): Promise<Files> => Promise.resolve({ "ca.crt": root });

const union = (a: readonly string[], b: readonly string[]): string[] => [...new Set([...a, ...b])];
