import type { KeyObject } from "node:crypto";
import { type Certificate, toPem } from "../../common/pki/certificate.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { type Identity, type KeyAndChain, ReloadableServerCredentials } from "../../common/session/tls.ts";
import type { ServerTlsCredentials } from "./pki.ts";
import { pinOf, type RelayCa, type SignedIdentity } from "./relay-ca.ts";
import type { RelayRoot } from "./relay-secrets.ts";

/** What is in force together: the certificate of the server, and who vouches for the rest. */
export interface PkiContent {
  readonly ca: RelayCa;
  readonly server: KeyAndChain;
}

/** Certificates that are read after the start, and replaced while the server runs: live streams go on with the old ones. */
export class LoadedPki implements RelayCa {
  readonly #content = new Latest<PkiContent>();
  #certificate: ServerTlsCredentials | undefined;

  get isLoaded(): boolean {
    return this.#content.value !== undefined;
  }

  get certificate(): ServerTlsCredentials {
    if (!this.#certificate) throw notLoaded();
    return this.#certificate;
  }

  get roots(): readonly Certificate[] {
    return this.#current.ca.roots;
  }

  get trustBundlePem(): string {
    return this.#current.ca.trustBundlePem;
  }

  get trustPin(): string {
    return this.#current.ca.trustPin;
  }

  async signClient(publicKey: KeyObject, identity: Identity): Promise<SignedIdentity> {
    return this.#current.ca.signClient(publicKey, identity);
  }

  hasSigned(certificateDer: Buffer): boolean {
    return this.#current.ca.hasSigned(certificateDer);
  }

  /** Resolves once something is loaded. Rejects when `signal` is aborted. */
  async loaded(signal: AbortSignal): Promise<void> {
    await this.#content.until(() => true, signal);
  }

  /** Puts these in force for connections and requests to come. True when they differ from those before. */
  load(content: PkiContent): boolean {
    const before = this.#content.value;
    const isNew = before === undefined || describe(before) !== describe(content);
    if (isNew) this.#serve(content);
    this.#content.set(content);
    return isNew;
  }

  #serve({ server: { keyPem, certificatePem }, ca }: PkiContent): void {
    const enrollment = { keyPem, certificatePem, minVersion: "TLSv1.3" } as const;
    const relay = { ...enrollment, clientRootsPem: ca.trustBundlePem };
    if (this.#certificate) {
      this.#certificate.relay.replace(relay);
      this.#certificate.enrollment.replace(enrollment);
      return;
    }
    this.#certificate = {
      relay: new ReloadableServerCredentials(relay),
      enrollment: new ReloadableServerCredentials(enrollment),
    };
  }

  get #current(): PkiContent {
    const { value } = this.#content;
    if (!value) throw notLoaded();
    return value;
  }
}

/** For certificates that somebody else makes: these roots are trusted, and nothing is signed. */
export function foreignCa({ trusted }: RelayRoot): RelayCa {
  const [root] = trusted;
  return {
    roots: trusted,
    trustBundlePem: toPem(trusted),
    trustPin: root ? pinOf(root) : "",
    signClient: () =>
      Promise.reject(new MeshError("failed_precondition", "the relay's own certificate authority is disabled")),
    hasSigned: () => false,
  };
}

const describe = ({ server, ca }: PkiContent): string =>
  [server.keyPem, server.certificatePem, ca.trustBundlePem].join("\n");

const notLoaded = (): MeshError => new MeshError("unavailable", "the relay's certificates have not been read yet");
