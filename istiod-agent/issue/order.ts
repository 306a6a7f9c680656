import type { KeySpec } from "../../common/pki/keys.ts";
import type { VaultAuth } from "../vault/session.ts";

/** A certificate authority in Vault, and how to log in there. */
export interface VaultAuthority {
  /** Vault's address, e.g. "http://vault.vault:8200". */
  readonly server: string;
  /** Path that signs, relative to /v1/, e.g. "pki/root/sign-intermediate". */
  readonly caPath: string;
  /** Path that makes key and request; without it the key is made here and never leaves this process's memory. */
  readonly csrPath?: string | undefined;
  readonly namespace?: string | undefined;
  /** PEM certificates to verify Vault with. Without it and `caLocalPath`: the system's roots. */
  readonly caBundlePem?: string | undefined;
  /** File with such certificates, read at each use. `caBundlePem` wins. */
  readonly caLocalPath?: string | undefined;
  readonly auth: VaultAuth;
}

/** One intermediate CA to obtain. */
export interface IssueOrder {
  readonly vault: VaultAuthority;
  readonly organization?: string | undefined;
  readonly commonName: string;
  /** URI subject alternative names, e.g. "spiffe://cluster.local/ns/istio-system/sa/istiod". */
  readonly hosts: readonly string[];
  /** Wanted life. Vault may give less. */
  readonly ttlSeconds: number;
  readonly key: KeySpec;
  /** Share of the life that is left when a renewal is due at the latest, in (0, 1). */
  readonly graceRatio: number;
  /** Names this replica among the others, so that their renewals spread, e.g. "cluster-1/istiod-abc". */
  readonly spreadKey: string;
  /** SHA-256 of the DER form of the root it must end in, lower-case hex; any root when absent. */
  readonly expectedRootSha256?: string | undefined;
}
