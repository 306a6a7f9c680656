import type { ReloadableServerCredentials } from "../../common/session/tls.ts";
import type { RelayCa } from "./relay-ca.ts";

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
  /** Keeps them fit for use until `signal` is aborted. */
  run(signal: AbortSignal): Promise<void>;
}
