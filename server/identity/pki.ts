import type { ReloadableServerCredentials } from "../../common/session/tls.ts";
import type { RelayCa } from "./relay-ca.ts";

/**
 * Where a rotation of the relay's root stands. STABLE: one root. TRUSTING: a new one is trusted beside the old one, which
 * signs. SWITCHED: the new one signs, the old one is still trusted.
 */
export type RotationStage = "STABLE" | "TRUSTING" | "SWITCHED";

/** The server's own certificate on its two listeners; it is replaced without dropping streams. */
export interface ServerTlsCredentials {
  /** For 9900: clients must show a certificate of a root that is trusted. */
  readonly relay: ReloadableServerCredentials;
  /** For 9901: clients show none. */
  readonly enrollment: ReloadableServerCredentials;
}

/** The relay's certificates, wherever they are kept. */
export interface RelayPki {
  /** Before `opened` its parts throw `unavailable`. */
  readonly ca: RelayCa;
  /** Throws `unavailable` before `opened`. */
  readonly certificate: ServerTlsCredentials;
  /** Resolves once there are certificates to serve with. Rejects when `signal` is aborted. */
  opened(signal: AbortSignal): Promise<void>;
  /** Throws `unavailable` before `opened`. */
  readonly stage: RotationStage;
  /**
   * Takes the step after `from`, whatever becomes of those who are not ready for it; resolves when it is in force here.
   * Throws `failed_precondition` for roots that somebody else made, `conflict` where it does not stand at `from` (any more).
   */
  advance(from: RotationStage): Promise<void>;
  /** Keeps them fit for use until `signal` is aborted. */
  run(signal: AbortSignal): Promise<void>;
}
