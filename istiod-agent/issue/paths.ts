import { MeshError } from "../../common/runtime/errors.ts";
import { apiPath } from "../vault/client.ts";

const SIGN = /^(?<mount>.+?)\/(?:root|issuer\/(?<issuer>[^/]+))\/sign-intermediate$/;
const GENERATE = /^(?<mount>.+?)\/(?:intermediate\/generate|issuers\/generate\/intermediate)\/(?<kind>[a-z]+)$/;

/** Where the issuers of a signing path are published; empty where the path is of an unknown form. */
export interface SigningMount {
  /** Mount of the secrets engine without slashes at its ends; undefined for an unknown form of path. */
  readonly mount: string | undefined;
  /** Paths that may hold the root, the likeliest first. */
  readonly issuerPaths: readonly string[];
}

/** Reads `caPath`: "MOUNT/root/sign-intermediate" or "MOUNT/issuer/REF/sign-intermediate". */
export function signingMount(caPath: string): SigningMount {
  const { mount, issuer } = SIGN.exec(apiPath(caPath))?.groups ?? {};
  if (mount === undefined) return { mount: undefined, issuerPaths: [] };
  const published = [`${mount}/cert/ca_chain`, `${mount}/cert/ca`];
  return { mount, issuerPaths: issuer === undefined ? published : [`${mount}/issuer/${issuer}/json`, ...published] };
}

/**
 * The mount of a `csrPath` that hands out the key. Throws `invalid_argument` for "…/internal" and the other forms that
 * keep it, because istiod needs the key itself.
 */
export function exportingMount(csrPath: string): string {
  const { mount, kind } = GENERATE.exec(apiPath(csrPath))?.groups ?? {};
  if (mount !== undefined && kind === "exported") return mount;
  const fault = kind === undefined ? "is not a path that makes a request" : "keeps the private key in vault";
  throw new MeshError("invalid_argument", `csrPath "${csrPath}" ${fault}, and istiod must have the key`, {
    hint: `set csrPath to ${mount ?? "pki_int"}/intermediate/generate/exported, or remove it: then the key is made in the pod`,
  });
}
