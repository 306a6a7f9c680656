import { readFile } from "node:fs/promises";
import { createCsr } from "../../common/pki/csr.ts";
import { loadPrivateKey } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { VERSION } from "../../common/runtime/version.ts";
import { Dialer } from "../../common/session/client.ts";
import { EnrollmentServiceService, type EnrollResponse } from "../../proto/gen/enrollment/v1/enrollment.ts";
import { fetchPinnedRoot } from "./trust.ts";

/** Where and how the agent enrols. */
export interface EnrollmentTarget {
  /** host:port */
  readonly address: string;
  /** Name to verify in the server's certificate, where it is not the host. */
  readonly authority?: string | undefined;
  readonly tokenFile?: string | undefined;
  /** "sha256:" and the hex SHA-256 of the root's public key. */
  readonly trustPin?: string | undefined;
  readonly trustBundleFile?: string | undefined;
}

const CALL_TIMEOUT_MS = 15_000;

/**
 * Roots to verify the enrolment server with: of the given file, else of the pin, else `known`, those of an earlier
 * identity. Throws `failed_precondition` with none of them.
 */
export async function enrollmentRoots(
  { address, trustBundleFile, trustPin }: EnrollmentTarget,
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

export interface EnrollCall {
  readonly target: EnrollmentTarget;
  readonly rootsPem: string;
  readonly token: string;
  readonly keyPem: string;
}

/** Asks once. The token is sent only to a server that one of the roots vouches for. */
export async function enroll(
  { target, rootsPem, token, keyPem }: EnrollCall,
  signal: AbortSignal,
): Promise<EnrollResponse> {
  const { address, authority } = target;
  const dialer = new Dialer({
    address,
    tls: { rootsPem, minVersion: "TLSv1.3" },
    peer: `management server ${address}`,
    ...(authority ? { authority } : {}),
  });
  try {
    const request = {
      token,
      certificateSigningRequest: await createCsr({ key: loadPrivateKey(keyPem) }),
      agentVersion: VERSION,
    };
    return await dialer.unary(EnrollmentServiceService.enroll, request, { signal, timeoutMs: CALL_TIMEOUT_MS });
  } finally {
    dialer.close();
  }
}
