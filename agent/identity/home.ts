import type { StateDocument } from "../../common/runtime/state-directory.ts";
import type { StoredIdentity } from "./documents.ts";

/** A join token that was found. */
export interface FoundToken {
  readonly text: string;
  /** Hex SHA-256 of the text: names it without giving it away. */
  readonly hash: string;
}

/** Where join tokens are put for the agent. */
export interface TokenSource {
  /** The token that lies there now. Throws `config_invalid` for one that cannot be read. */
  read(signal: AbortSignal): Promise<FoundToken | undefined>;
  /** Deletes that token after use, where it may be deleted and is still there. Never throws. */
  remove(hash: string, signal: AbortSignal): Promise<void>;
}

/** Where the agent's identity lives, and what it may be obtained with. */
export interface IdentityHome {
  /** For messages. */
  readonly place: string;
  readonly document: StateDocument<StoredIdentity>;
  readonly tokens: TokenSource;
  /** "no --relay-token-file": why there is no token to enrol with. */
  readonly noToken: string;
  /** What to do where there is neither identity nor token. */
  readonly hint: string;
  /**
   * Roots, PEM, to verify the enrolment server with; `known` are those of an earlier identity. Throws
   * `failed_precondition` where nothing says whom to trust.
   */
  readonly roots: (known: string | undefined, signal: AbortSignal) => Promise<string>;
  /**
   * True where others put identity and token in place while the agent runs: it waits for what is missing, and looks
   * again at what is there. False: what is missing at the start is a fault.
   */
  readonly patient: boolean;
}
