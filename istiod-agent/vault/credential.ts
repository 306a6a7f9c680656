import { readFile } from "node:fs/promises";
import { decodeJwt } from "jose";
import { MeshError } from "../../common/runtime/errors.ts";

/** Where a secret comes from. It is read again for each use, because tokens are replaced while we run. */
export interface Credential {
  /** For messages, e.g. "/var/run/secrets/tokens/vault/token". */
  readonly name: string;
  /** The secret, trimmed, never empty. */
  read(signal: AbortSignal): Promise<string>;
}

/** A secret that lies in a file. A missing or empty one is retriable: the kubelet may yet write it. */
export function fileCredential(path: string): Credential {
  return {
    name: path,
    async read(signal) {
      const text = await readFile(path, { encoding: "utf8", signal }).catch((cause: unknown) => {
        signal.throwIfAborted();
        throw missing(path, `cannot be read: ${(cause as NodeJS.ErrnoException).code ?? "unknown fault"}`, cause);
      });
      const secret = text.trim();
      if (secret === "") throw missing(path, "is empty");
      return secret;
    },
  };
}

function missing(path: string, fault: string, cause?: unknown): MeshError {
  return new MeshError("failed_precondition", `token file ${path} ${fault}`, {
    retriable: true,
    hint: `mount the service account token or the secret so that it appears at ${path}`,
    cause,
  });
}

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
}

/** The service account that a token names, for messages only: nothing is verified. undefined for what is no such token. */
export function serviceAccountOf(jwt: string): ServiceAccount | undefined {
  try {
    const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(decodeJwt(jwt).sub ?? "") ?? [];
    return namespace !== undefined && name !== undefined ? { namespace, name } : undefined;
  } catch {
    return undefined;
  }
}
