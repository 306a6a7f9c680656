import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { createCsr } from "../../common/pki/csr.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { Backoff, retry } from "../../common/runtime/retry.ts";
import { StateCell } from "../../common/runtime/state-cell.ts";
import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import type { RenewCertificateResponse } from "../../proto/gen/relay/v1/relay.ts";
import { type AgentCredentials, identitySchema, readCredentials, type StoredIdentity } from "./documents.ts";
import { enroll, type EnrollmentTarget, enrollmentRoots } from "./enroll.ts";
import { type FoundToken, readTokenFile, removeTokenFile } from "./token-file.ts";

export interface AgentIdentityOptions {
  readonly directory: StateDirectory;
  readonly cluster: string;
  readonly enrollment: EnrollmentTarget;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Sends a CSR over the relay's session; rejects with a retriable error while there is none. */
export type Renew = (csrPem: string, signal: AbortSignal) => Promise<RenewCertificateResponse>;

/** What the agent can say of its identity. An agent without a valid one goes on enforcing what it holds. */
export type IdentityStatus =
  | { readonly kind: "missing" }
  | { readonly kind: "valid" | "expired"; readonly notAfterMs: number; readonly problem?: string };

const DAY_MS = 86_400_000;
/** How often a new token and the need of a renewal are looked for. */
const LOOK_MS = 5_000;
const RETRY = { baseMs: 5_000, capMs: 10 * 60_000 };

/** The agent's key and client certificate: from the state directory, by enrolment, and by renewal. */
export class AgentIdentity {
  /** The newest credentials; the relay client reconnects when they change. */
  readonly credentials = new Latest<AgentCredentials>();
  readonly status = new Latest<IdentityStatus>({ kind: "missing" });
  readonly #options: AgentIdentityOptions;
  readonly #cell: StateCell<StoredIdentity>;
  readonly #backoff: Backoff;
  #dueAtMs = 0;
  #refusedToken: string | undefined;

  private constructor(options: AgentIdentityOptions, cell: StateCell<StoredIdentity>) {
    this.#options = options;
    this.#cell = cell;
    this.#backoff = new Backoff({ ...RETRY, random: options.random });
  }

  /** Loads what the state directory holds. Throws `state_corrupt` for an identity that does not fit together. */
  static async open(options: AgentIdentityOptions): Promise<AgentIdentity> {
    const { directory, cluster } = options;
    const document = directory.document<StoredIdentity>("identity", identitySchema);
    const identity = new AgentIdentity(options, await StateCell.open(document, {}));
    const { current } = identity.#cell.value;
    if (!current) return identity;
    try {
      identity.#publish(readCredentials(current, cluster));
    } catch (cause) {
      const path = directory.file("identity.json");
      throw new MeshError("state_corrupt", `${path}: ${MeshError.from(cause).message}`, {
        cause,
        hint: `move ${path} away and enrol again with a new token`,
      });
    }
    return identity;
  }

  /** The credentials in force. Throws `failed_precondition` before the first enrolment. */
  current(): AgentCredentials {
    const { value } = this.credentials;
    if (!value) throw new MeshError("failed_precondition", "the agent has no identity yet");
    return value;
  }

  /**
   * Returns once there is an identity, enrolling where there is none; a server that is away is waited for. A new token
   * beside an identity is used too. Throws when there is neither identity nor token, or the token was refused.
   */
  async ensure(signal: AbortSignal): Promise<AgentCredentials> {
    const { clock, random, log } = this.#options;
    const token = await this.#newToken();
    if (token && this.credentials.value) await this.#tryEnroll(token, signal);
    else if (token) {
      const onRetry = (error: MeshError, waitMs: number): void =>
        log.warn("enrolment failed, trying again", { err: error, waitMs: Math.round(waitMs) });
      await retry(() => this.#enroll(token, signal), { clock, random, signal, onRetry, baseMs: 500, capMs: 5_000 });
    }
    if (!this.credentials.value) throw this.#nothingToEnrollWith();
    return this.current();
  }

  /** Renews about daily, enrols with each new token, says when the certificate has expired. Ends by `signal`. */
  async run(signal: AbortSignal, renew: Renew): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      await clock.sleep(Math.max(0, Math.min(LOOK_MS, this.#dueAtMs - clock.now())), signal);
      // A file that cannot be read was said at the start; a running agent goes on without it.
      const token = await this.#newToken().catch(() => undefined);
      if (token) await this.#tryEnroll(token, signal);
      else if (clock.now() >= this.#dueAtMs) await this.#tryRenew(renew, signal);
      this.#judge();
    }
  }

  /** To be told when the server accepted a session with `used`: the certificate before it is not needed any more. */
  async confirm(used: AgentCredentials): Promise<void> {
    await this.#cell.update((stored) =>
      stored.previous && stored.current?.certificatePem === used.certificatePem
        ? { ...stored, previous: undefined }
        : stored,
    );
  }

  /**
   * To be told when the server refused `used` as unknown (`unauthenticated`): falls back to the certificate before it,
   * which a server restored from a backup still knows. Returns false when there is none.
   */
  async refused(used: AgentCredentials): Promise<boolean> {
    const { previous } = this.#cell.value;
    const isCurrent = this.#cell.value.current?.certificatePem === used.certificatePem;
    if (!previous || !isCurrent) return false;
    await this.#cell.update((stored) => ({ ...stored, current: previous, previous: undefined }));
    this.#options.log.warn("the server does not know the new certificate; going back to the one before");
    this.#publish(readCredentials(previous, this.#options.cluster));
    return true;
  }

  async #newToken(): Promise<FoundToken | undefined> {
    const { tokenFile } = this.#options.enrollment;
    const token = tokenFile === undefined ? undefined : await readTokenFile(tokenFile);
    const known = [this.#refusedToken, this.#cell.value.usedTokenHash];
    return token && !known.includes(token.hash) ? token : undefined;
  }

  async #enroll(token: FoundToken, signal: AbortSignal): Promise<void> {
    const { enrollment: target, cluster, log } = this.#options;
    const rootsPem = await enrollmentRoots(target, this.credentials.value?.trustBundlePem, signal);
    const keyPem = await this.#pendingKey();
    const answer = await enroll({ target, rootsPem, token: token.text, keyPem }, signal);
    const current = { keyPem, certificatePem: answer.certificateChain, trustBundlePem: answer.trustBundle };
    const credentials = readCredentials(current, cluster);
    await this.#cell.update(() => ({ current, usedTokenHash: token.hash }));
    this.#publish(credentials);
    log.info("enrolled", { cluster, serial: credentials.serial, notAfter: iso(credentials.notAfterMs) });
    if (target.tokenFile !== undefined) await removeTokenFile(target.tokenFile, token.hash);
  }

  /** The key is on disk before the server hears of it. */
  async #pendingKey(): Promise<string> {
    const made = privateKeyToPem(await generateKey({ type: "ec", curve: "P-256" }));
    const { pendingKeyPem } = await this.#cell.update((stored) =>
      stored.pendingKeyPem === undefined ? { ...stored, pendingKeyPem: made } : stored,
    );
    return pendingKeyPem ?? made;
  }

  async #tryEnroll(token: FoundToken, signal: AbortSignal): Promise<void> {
    try {
      await this.#enroll(token, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      const error = MeshError.from(thrown);
      if (!error.retriable) this.#refusedToken = token.hash;
      this.#options.log.warn("the new token was not accepted; keeping the identity at hand", { err: error });
    }
  }

  async #tryRenew(renew: Renew, signal: AbortSignal): Promise<void> {
    const { cluster, clock, log } = this.#options;
    try {
      const key = await generateKey({ type: "ec", curve: "P-256" });
      const answer = await renew(await createCsr({ key }), signal);
      const keyPem = privateKeyToPem(key);
      const next = { keyPem, certificatePem: answer.certificateChain, trustBundlePem: answer.trustBundle };
      const credentials = readCredentials(next, cluster);
      await this.#cell.update((stored) => ({ ...stored, previous: stored.current, current: next }));
      this.#backoff.reset();
      this.#publish(credentials);
      log.info("client certificate renewed", { serial: credentials.serial, notAfter: iso(credentials.notAfterMs) });
    } catch (error) {
      signal.throwIfAborted();
      const waitMs = this.#backoff.next(1_000);
      this.#dueAtMs = clock.now() + waitMs;
      log.warn("client certificate not renewed, trying again", { err: error, waitMs: Math.round(waitMs) });
    }
  }

  #publish(credentials: AgentCredentials): void {
    const { notBeforeMs, notAfterMs } = credentials;
    const intervalMs = Math.min(DAY_MS, (notAfterMs - notBeforeMs) / 3);
    this.#dueAtMs = notBeforeMs + intervalMs * (0.9 + 0.2 * this.#options.random());
    this.credentials.set(credentials);
    this.#judge();
  }

  #judge(): void {
    const { value } = this.credentials;
    if (!value) return;
    const { notAfterMs } = value;
    const kind = this.#options.clock.now() > notAfterMs ? "expired" : "valid";
    const { value: before } = this.status;
    if (before?.kind === kind && before.notAfterMs === notAfterMs) return;
    if (kind === "valid") this.status.set({ kind, notAfterMs });
    else {
      const problem = `the client certificate expired at ${iso(notAfterMs)}; a new token is needed`;
      this.status.set({ kind, notAfterMs, problem });
      this.#options.log.error("client certificate expired; the last intent stays in force", { problem });
    }
  }

  #nothingToEnrollWith(): MeshError {
    const { directory, enrollment, cluster } = this.#options;
    const where = enrollment.tokenFile === undefined ? "no --relay-token-file" : `no token in ${enrollment.tokenFile}`;
    return new MeshError("failed_precondition", `no identity in ${directory.path} and ${where}`, {
      hint: `run meshctl cluster register ${cluster} --token-file FILE, and give FILE as --relay-token-file`,
    });
  }
}

const iso = (ms: number): string => new Date(ms).toISOString();
