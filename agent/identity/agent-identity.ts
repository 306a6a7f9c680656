import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { createCsr } from "../../common/pki/csr.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { Backoff, retry } from "../../common/runtime/retry.ts";
import { StateCell } from "../../common/runtime/state-cell.ts";
import { bundleDigest } from "../../common/session/tls.ts";
import type { RenewCertificateResponse } from "../../proto/gen/relay/v1/relay.ts";
import { type AgentCredentials, readCredentials, type StoredIdentity } from "./documents.ts";
import { enroll, type EnrollmentTarget } from "./enroll.ts";
import type { FoundToken, IdentityHome } from "./home.ts";

export interface AgentIdentityOptions {
  readonly home: IdentityHome;
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
/** How often a new token, a replaced identity and the need of a renewal are looked for. */
const LOOK_MS = 5_000;
const RETRY = { baseMs: 5_000, capMs: 10 * 60_000 };
const ENROLL_RETRY = { baseMs: 500, capMs: 5_000 };

/** The agent's key and client certificate: from its home, by enrolment, and by renewal. */
export class AgentIdentity {
  /** The newest credentials; the relay client reconnects when they change. */
  readonly credentials = new Latest<AgentCredentials>();
  readonly status = new Latest<IdentityStatus>({ kind: "missing" });
  readonly #options: AgentIdentityOptions;
  readonly #cell: StateCell<StoredIdentity>;
  readonly #backoff: Backoff;
  #dueAtMs = 0;
  #refusedToken: string | undefined;
  /** Roots that the server hands out, as it said last. */
  #rootsHeard = "";
  /** The fault that was logged last: what stays as it is, is one line. */
  #told = "";

  private constructor(options: AgentIdentityOptions, cell: StateCell<StoredIdentity>) {
    this.#options = options;
    this.#cell = cell;
    this.#backoff = new Backoff({ ...RETRY, random: options.random });
  }

  /** Loads what its home holds. Throws `state_corrupt` for an identity that does not fit together, where nobody mends it. */
  static async open(options: AgentIdentityOptions): Promise<AgentIdentity> {
    const identity = new AgentIdentity(options, await StateCell.open(options.home.document, {}));
    const fault = identity.#adopt();
    if (fault && !options.home.patient) throw fault;
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
   * beside an identity is used too. Without a token, or when it is refused: throws, or waits where the home is patient.
   */
  async ensure(signal: AbortSignal): Promise<AgentCredentials> {
    const { clock, home } = this.#options;
    for (;;) {
      const token = await this.#newToken(signal).catch((thrown: unknown) => {
        if (!home.patient || signal.aborted) throw thrown;
        this.#tell("the token cannot be read", MeshError.from(thrown));
        return undefined;
      });
      if (token && this.credentials.value) await this.#tryEnroll(token, signal);
      else if (token) await this.#enrollFirst(token, signal);
      if (this.credentials.value) return this.credentials.value;
      const missing = this.#nothingToEnrollWith();
      if (!home.patient) throw missing;
      this.#tell("no identity yet; waiting for one", missing);
      await clock.sleep(LOOK_MS, signal);
      await this.#look();
    }
  }

  /** Renews about daily, enrols with each new token, says when the certificate has expired. Ends by `signal`. */
  async run(signal: AbortSignal, renew: Renew): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      await clock.sleep(Math.max(0, Math.min(LOOK_MS, this.#dueAtMs - clock.now())), signal);
      await this.#look();
      // A file that cannot be read was said at the start; a running agent goes on without it.
      const token = await this.#newToken(signal).catch(() => undefined);
      if (token) await this.#tryEnroll(token, signal);
      else if (clock.now() >= this.#dueAtMs) await this.#tryRenew(renew, signal);
      this.#judge();
    }
  }

  /**
   * To be told when the server accepted a session with `used`: the certificate before it is not needed any more. That it
   * cannot be dropped now is no reason to end the session.
   */
  async confirm(used: AgentCredentials): Promise<void> {
    const isNeedless = (stored: StoredIdentity): boolean =>
      stored.previous !== undefined && stored.current?.certificatePem === used.certificatePem;
    try {
      await this.#cell.update((stored) => (isNeedless(stored) ? { ...stored, previous: undefined } : stored));
    } catch (thrown) {
      this.#tell("the certificate before cannot be dropped", MeshError.from(thrown));
    }
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

  /**
   * To be told which roots the server hands out, by their digest. Where they are others than those at hand a renewal is due
   * within `spreadMs`, which brings them: once for each, the daily renewal does the rest.
   */
  heardRoots(digest: Buffer, spreadMs: number): void {
    const theirs = digest.toString("hex");
    const { value } = this.credentials;
    if (!value || digest.length === 0 || theirs === this.#rootsHeard) return;
    this.#rootsHeard = theirs;
    if (this.#cell.value.supplied || digest.equals(bundleDigest(value.trustBundlePem))) return;
    const { clock, random, log } = this.#options;
    this.#dueAtMs = Math.min(this.#dueAtMs, clock.now() + random() * spreadMs);
    log.info("the server has other roots; renewing the client certificate to get them");
  }

  /** Puts what is stored in force, if it is not; returns what is wrong with it. */
  #adopt(): MeshError | undefined {
    const { home, cluster } = this.#options;
    const { current } = this.#cell.value;
    if (!current || current.certificatePem === this.credentials.value?.certificatePem) return undefined;
    try {
      this.#publish(readCredentials(current, cluster));
      return undefined;
    } catch (cause) {
      const fault = new MeshError("state_corrupt", `${home.place}: ${MeshError.from(cause).message}`, {
        cause,
        hint: `move ${home.place} away and enrol again with a new token`,
      });
      if (home.patient) this.#tell("the identity cannot be used", fault);
      return fault;
    }
  }

  /** Takes over an identity that somebody put in the place of ours, and puts back one that somebody deleted. */
  async #look(): Promise<void> {
    if (!this.#options.home.patient) return;
    try {
      if (await this.#cell.reload()) this.#adopt();
      else if (this.#cell.value.current) await this.#cell.update((stored) => ({ ...stored }));
    } catch (thrown) {
      this.#tell("the identity cannot be looked at", MeshError.from(thrown));
    }
  }

  async #newToken(signal: AbortSignal): Promise<FoundToken | undefined> {
    const { usedTokenHash, supplied } = this.#cell.value;
    if (supplied) return undefined;
    const token = await this.#options.home.tokens.read(signal);
    return token && ![this.#refusedToken, usedTokenHash].includes(token.hash) ? token : undefined;
  }

  async #enroll(token: FoundToken, signal: AbortSignal): Promise<void> {
    const { enrollment: target, home, cluster, log } = this.#options;
    const rootsPem = await home.roots(this.credentials.value?.trustBundlePem, signal);
    const keyPem = await this.#pendingKey();
    const answer = await enroll({ target, rootsPem, token: token.text, keyPem }, signal);
    const current = { keyPem, certificatePem: answer.certificateChain, trustBundlePem: answer.trustBundle };
    const credentials = readCredentials(current, cluster);
    await this.#cell.update(() => ({ current, usedTokenHash: token.hash }));
    this.#publish(credentials);
    log.info("enrolled", { cluster, serial: credentials.serial, notAfter: iso(credentials.notAfterMs) });
    await home.tokens.remove(token.hash, signal);
  }

  /** The key is stored before the server hears of it. */
  async #pendingKey(): Promise<string> {
    const made = privateKeyToPem(await generateKey({ type: "ec", curve: "P-256" }));
    const { pendingKeyPem } = await this.#cell.update((stored) =>
      stored.pendingKeyPem === undefined ? { ...stored, pendingKeyPem: made } : stored,
    );
    return pendingKeyPem ?? made;
  }

  async #enrollFirst(token: FoundToken, signal: AbortSignal): Promise<void> {
    const { clock, random, log, home } = this.#options;
    const onRetry = (error: MeshError, waitMs: number): void =>
      log.warn("enrolment failed, trying again", { err: error, waitMs: Math.round(waitMs) });
    try {
      await retry(() => this.#enroll(token, signal), { clock, random, signal, onRetry, ...ENROLL_RETRY });
    } catch (error) {
      if (signal.aborted || !home.patient) throw error;
      this.#refusedToken = token.hash;
      log.error("the token was not accepted; waiting for another one", { err: error });
    }
  }

  async #tryEnroll(token: FoundToken, signal: AbortSignal): Promise<void> {
    const { log, clock } = this.#options;
    try {
      await this.#enroll(token, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      const error = MeshError.from(thrown);
      if (!error.retriable) this.#refusedToken = token.hash;
      // A renewal that is due must not make the next attempt come at once.
      this.#dueAtMs = Math.max(this.#dueAtMs, clock.now() + LOOK_MS);
      log.warn("the new token was not accepted; keeping the identity at hand", { err: error });
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
    const renewAtMs = notBeforeMs + intervalMs * (0.9 + 0.2 * this.#options.random());
    // Who supplied it renews it.
    this.#dueAtMs = this.#cell.value.supplied ? Infinity : renewAtMs;
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
      const need = this.#cell.value.supplied ? "certificate" : "token";
      const problem = `the client certificate expired at ${iso(notAfterMs)}; a new ${need} is needed`;
      this.status.set({ kind, notAfterMs, problem });
      this.#options.log.error("client certificate expired; the last intent stays in force", { problem });
    }
  }

  #tell(what: string, fault: MeshError): void {
    const text = `${what}: ${fault.message}`;
    if (text !== this.#told) this.#options.log.warn(what, { err: fault });
    this.#told = text;
  }

  #nothingToEnrollWith(): MeshError {
    const { place, noToken, hint } = this.#options.home;
    return new MeshError("failed_precondition", `no identity in ${place} and ${noToken}`, { hint });
  }
}

const iso = (ms: number): string => new Date(ms).toISOString();
