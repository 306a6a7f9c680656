import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { readFileIfExists } from "../../common/runtime/files.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import { identitySchema, type StoredIdentity } from "./documents.ts";
import type { FoundToken, IdentityHome, TokenSource } from "./home.ts";
import { fetchPinnedRoot } from "./trust.ts";

export interface FileIdentityOptions {
  readonly directory: StateDirectory;
  readonly cluster: string;
  /** host:port of the enrolment server. */
  readonly address: string;
  readonly tokenFile?: string | undefined;
  /** "sha256:" and the hex SHA-256 of the root's public key. */
  readonly trustPin?: string | undefined;
  readonly trustBundleFile?: string | undefined;
}

/** Standalone: identity.json in the state directory, the token in a file. */
export function fileIdentityHome(options: FileIdentityOptions): IdentityHome {
  const { directory, cluster, tokenFile } = options;
  return {
    place: directory.file("identity.json"),
    document: directory.document<StoredIdentity>("identity", identitySchema),
    tokens: tokenFile === undefined ? NO_TOKENS : tokenFileSource(tokenFile),
    noToken: tokenFile === undefined ? "no --relay-token-file" : `no token in ${tokenFile}`,
    hint: `run meshctl cluster register ${cluster} --token-file FILE, and give FILE as --relay-token-file`,
    roots: (known, signal) => trustedRoots(options, known, signal),
    patient: false,
  };
}

const NO_TOKENS: TokenSource = { read: () => Promise.resolve(undefined), remove: () => Promise.resolve() };

function tokenFileSource(path: string): TokenSource {
  return {
    read: () => readTokenFile(path),
    remove: async (hash) => {
      // Somebody may have put the next token there meanwhile, and a mounted Secret may not be deleted.
      const found = await readTokenFile(path).catch(() => undefined);
      if (found?.hash === hash) await rm(path, { force: true }).catch(() => undefined);
    },
  };
}

async function readTokenFile(path: string): Promise<FoundToken | undefined> {
  let text: string | undefined;
  try {
    text = (await readFileIfExists(path))?.trim();
  } catch (cause) {
    throw new MeshError("config_invalid", `token file cannot be read: ${MeshError.from(cause).message}`, { cause });
  }
  return text ? foundToken(text) : undefined;
}

/** A token with the name that it is known by. */
export const foundToken = (text: string): FoundToken => ({
  text,
  hash: createHash("sha256").update(text).digest("hex"),
});

/** Of the given file, else of the pin, else `known`. */
async function trustedRoots(
  { address, trustBundleFile, trustPin }: FileIdentityOptions,
  known: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  if (trustBundleFile !== undefined) return readTrustBundle(trustBundleFile);
  if (trustPin !== undefined) return fetchPinnedRoot(address, trustPin, signal);
  if (known !== undefined) return known;
  throw new MeshError("failed_precondition", "enrolment needs a way to verify the server", {
    hint: "give --relay-trust-pin, which meshctl cluster register prints, or --relay-trust-bundle-file",
  });
}

async function readTrustBundle(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new MeshError("config_invalid", `trust bundle file cannot be read: ${MeshError.from(cause).message}`, {
      cause,
    });
  }
}
