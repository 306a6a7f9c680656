import { decodeJwt } from "jose";
import { MeshError } from "../../common/runtime/errors.ts";
import { readGivenFile } from "../../common/runtime/files.ts";

/** Where a secret comes from. It is read again for each use, because tokens are replaced while we run. */
export interface Credential {
  /** For messages, e.g. "/var/run/secrets/tokens/vault/token". */
  readonly name: string;
  /** The secret, trimmed, never empty. */
  read(signal: AbortSignal): Promise<string>;
}

/** One that may be kept between uses. */
export interface RenewableCredential extends Credential {
  /** What was read last is not accepted any more: the next read brings another. */
  forget(): void;
}

/** A secret that lies in a file. A missing or empty one is retriable: somebody may yet write it. */
export function fileCredential(path: string, hint = mountHint(path)): RenewableCredential {
  return {
    name: path,
    forget: () => undefined,
    async read(signal) {
      const text = await readGivenFile(path, signal).catch((cause: unknown) => {
        signal.throwIfAborted();
        const fault = cause instanceof MeshError ? cause.message : (cause as NodeJS.ErrnoException).code;
        throw missing(path, `cannot be read: ${fault ?? "unknown fault"}`, { hint, cause });
      });
      const secret = text.trim();
      if (secret === "") throw missing(path, "is empty", { hint });
      return secret;
    },
  };
}

/**
 * A service account token that lies in a file. What has not the form of one is refused, because the file may be any that
 * the author of an order names, and what is in it goes to the Vault that he names too.
 */
export function jwtCredential(path: string): Credential {
  const file = fileCredential(path);
  return {
    name: path,
    async read(signal) {
      const jwt = await file.read(signal);
      if (JWT.test(jwt)) return jwt;
      throw missing(path, "holds no service account token", { hint: mountHint(path) });
    },
  };
}

const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

const mountHint = (path: string): string =>
  `mount the service account token or the secret so that it appears at ${path}`;

function missing(path: string, fault: string, options: { readonly hint: string; readonly cause?: unknown }): MeshError {
  return new MeshError("failed_precondition", `file ${path} ${fault}`, { retriable: true, ...options });
}

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
  /** Whom the token is for. */
  readonly audiences: readonly string[];
}

/** The service account that a token names, for messages only: nothing is verified. undefined for what is no such token. */
export function serviceAccountOf(jwt: string): ServiceAccount | undefined {
  try {
    const { sub = "", aud = [] } = decodeJwt(jwt);
    const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(sub) ?? [];
    return namespace !== undefined && name !== undefined ? { namespace, name, audiences: [aud].flat() } : undefined;
  } catch {
    return undefined;
  }
}
